# shellcheck shell=bash
# Sourced by examples/run.sh, benchmarks/run.sh and tests/run.sh: packages, configuration, quiet builds.
# A second call finds everything in place: it installs nothing, builds nothing and does not touch the network.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=$root/build
jobs=$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)

say() { printf '%s\n' "$*"; }
stop() { printf '%s\n' "$*" >&2; exit 1; }

# --- Packages -------------------------------------------------------------------------------------------------------

on_debian() { [[ -e /etc/debian_version ]] && command -v dpkg-query apt-get > /dev/null; }

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]; }

# Prints those of the given packages that are absent. Tools count as present wherever they come from.
absent_packages() {
    local package
    for package in "$@"; do
        case $package in
            g++) command -v g++ > /dev/null || say "$package" ;;
            cmake) command -v cmake > /dev/null || say "$package" ;;
            ninja-build) command -v ninja > /dev/null || command -v make > /dev/null || say "$package" ;;
            *) installed "$package" || say "$package" ;;
        esac
    done
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"  # nobody is there to type a password
    fi
}

can_install() { on_debian && { [[ $(id -u) -eq 0 ]] || command -v sudo > /dev/null; }; }

apt_updated=no
install_packages() {
    local log
    log=$(mktemp)
    if [[ $apt_updated == no ]]; then
        as_root apt-get update -qq > "$log" 2>&1 < /dev/null || say "apt-get update failed, trying with the lists at hand"
        apt_updated=yes
    fi
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > "$log" 2>&1 < /dev/null; then
        rm -f "$log"
    else
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# need_packages PACKAGE...: installs what is absent, or stops and says what to do.
need_packages() {
    if ! on_debian; then
        local tool
        for tool in cmake c++; do
            command -v $tool > /dev/null || stop "missing: $tool. Needed are a C++20 compiler and CMake 3.24 or newer."
        done
        return 0  # CMake says which libraries are missing, see configure
    fi
    local absent
    mapfile -t absent < <(absent_packages "$@")
    [[ ${#absent[@]} -eq 0 ]] && return 0
    can_install || stop "missing: ${absent[*]}. Install them with: apt-get install ${absent[*]}"
    say "installing ${absent[*]}"
    install_packages "${absent[@]}" || stop "could not install ${absent[*]}; without them: cmake -B build -DRLGAF_FETCH_DEPS=ON"
}

# want_packages WHAT_IS_LOST PACKAGE...: installs what is absent; where that fails it says so in one line, goes on, and
# does not try again next time (delete build/not_installed to try again).
want_packages() {
    local lost=$1 absent tried=$build_dir/not_installed
    shift
    on_debian || return 0
    mapfile -t absent < <(absent_packages "$@")
    [[ ${#absent[@]} -eq 0 ]] && return 0
    if ! grep -qsxF -- "${absent[*]}" "$tried" && can_install; then
        say "installing ${absent[*]} (optional)"
        install_packages "${absent[@]}" 2> /dev/null && return 0
        mkdir -p "$build_dir"
        say "${absent[*]}" >> "$tried"
    fi
    say "not installed: ${absent[*]} ($lost)"
}

library_packages=(g++ cmake ninja-build libeigen3-dev libxtensor-dev libfmt-dev nlohmann-json3-dev libcli11-dev)

# --- Building -------------------------------------------------------------------------------------------------------

# quietly WHAT COMMAND...: nothing if there is next to nothing to do, else one line; the log only if it fails.
quietly() {
    local what=$1 log timer status=0
    shift
    log=$(mktemp)
    (sleep 1 > /dev/null 2>&1 && say "$what ...") &
    timer=$!
    "$@" > "$log" 2>&1 < /dev/null || status=$?
    kill "$timer" 2> /dev/null || true
    wait "$timer" 2> /dev/null || true
    if [[ $status -ne 0 ]]; then
        say "$what: failed"
        cat "$log"
    elif [[ ${show_warnings:-no} == yes ]]; then
        grep -A 6 'warning:' "$log" || true
    fi
    rm -f "$log"
    return "$status"
}

# configure DIR CMAKE_ARGUMENT...: again only if the arguments or the installed packages differ from last time.
configure() {
    local dir=$1 key
    shift
    key="$* $(dpkg-query -W -f '${Package} ${Version} ${db:Status-Status};' g++ cmake libeigen3-dev libxtensor-dev libfmt-dev \
        nlohmann-json3-dev libcli11-dev catch2 libtorch-dev libomp-14-dev 2> /dev/null || true)"
    if [[ -e $dir/CMakeCache.txt && -e $dir/configured && $(< "$dir/configured") == "$key" ]]; then
        return 0
    fi
    local generator=()
    if [[ ! -e $dir/CMakeCache.txt ]] && command -v ninja > /dev/null; then
        generator=(-G Ninja)
    fi
    quietly "configuring ${dir#"$root"/}" cmake -S "$root" -B "$dir" "${generator[@]}" "$@" || return 1
    say "$key" > "$dir/configured"
}

# build DIR TARGET...: everything that can be built, whatever fails.
build() {
    local dir=$1 keep_going=-k
    shift
    [[ ! -e $dir/build.ninja ]] || keep_going=-k0
    quietly "building $* in ${dir#"$root"/}" cmake --build "$dir" --parallel "$jobs" --target "$@" -- "$keep_going"
}

# --- Programs of one folder -----------------------------------------------------------------------------------------

# run_program FOLDER KIND NAME ARGUMENT...: builds FOLDER/NAME.cpp and becomes it.
run_program() {
    local folder=$1 kind=$2 name=$3
    shift 3
    if [[ ! -e $root/$folder/$name.cpp ]]; then
        {
            say "usage: $folder/run.sh [NAME] [ARGUMENTS]"
            [[ $name == -h || $name == --help ]] || say "there is no $kind \"$name\""
            say "NAME is one of:"
            local source
            for source in "$root/$folder"/*.cpp; do
                [[ -e $source ]] && say "  $(basename "$source" .cpp)"
            done
        } >&2
        [[ $name == -h || $name == --help ]] && exit 0
        exit 2
    fi
    need_packages "${library_packages[@]}"
    if [[ $name == *torch* ]]; then
        want_packages "$folder/$name needs it" libtorch-dev
    fi
    configure "$build_dir" -DCMAKE_BUILD_TYPE=Release
    if ! has_target "$build_dir" "$name"; then
        stop "$name cannot be built here: $(cmake -B "$build_dir" 2>&1 | grep -E "rlgaf: no (rlgaf|$kind)" | sed 's/^-- rlgaf: //' | paste -sd ';' -)." \
             "Install what is missing, or let CMake download it: cmake -B build -DRLGAF_FETCH_DEPS=ON"
    fi
    build "$build_dir" "$name"
    exec "$build_dir/$folder/$name" "$@"
}

# No `grep -q`: it would stop reading early, and the pipe would count as failed.
has_target() { cmake --build "$1" --target help 2> /dev/null | grep -E "(^|[ /.])$2(:|$| )" > /dev/null; }
