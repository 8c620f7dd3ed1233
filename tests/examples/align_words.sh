#!/usr/bin/env bash
# align_words.sh PROGRAM SCRATCH: a tiny run writes what it promises; bad input is refused before anything is trained.
set -euo pipefail
program=$1 scratch=$2
rm -rf "$scratch" && mkdir -p "$scratch" && cd "$scratch"

small=(--words 300 --hidden 16 --base-epochs 1 --sft-epochs 2 --rounds 3 --picture run.svg)
"$program" "${small[@]}" --json run.json --log run.jsonl --save base > run.txt 2> run.err
for method in base sft sft_last rlgaf rlgaf_warm warm_start constant_reward; do
    grep -q "^$method " run.txt || { echo "the table has no row for $method"; exit 1; }
    grep -q "\"$method\": {" run.json || { echo "the JSON file has no $method"; exit 1; }
done
for metric in valid_new memorised distinct heldout_nll seconds valid_new_at_98 frontier; do
    [[ $(grep -c "\"$metric\":" run.json) -eq 7 ]] || { echo "$metric is not there for every method"; exit 1; }
done
grep -q '"example": "align_words"' run.json && grep -q '"seeds": 1' run.json && grep -q '</svg>' run.svg
[[ $(grep -c '"accuracy"' run.jsonl) -ge 3 ]]

# A base model that was kept gives the same rows again.
"$program" "${small[@]}" --load base > again.txt 2> again.err
same() { grep -E '^(base|sft|rlgaf|rlgaf_warm) +[0-9]' "$1" | cut -c1-75; }
[[ $(same run.txt) == "$(same again.txt)" ]] || { echo "the loaded base model is not the saved one"; exit 1; }

# RLHF has a row where it is asked for, and the other methods only where they are.
"$program" "${small[@]}" --load base --method rlhf --comparisons 3000 --json rlhf.json --log rlhf.jsonl > rlhf.txt 2> rlhf.err
for method in base sft sft_last warm_start rlhf; do
    grep -q "^$method " rlhf.txt || { echo "the table has no row for $method"; exit 1; }
    grep -q "\"$method\": {" rlhf.json || { echo "the JSON file has no $method"; exit 1; }
done
! grep -qE '^(rlgaf|rlgaf_warm|constant_reward) ' rlhf.txt || { echo "a method ran unasked"; exit 1; }
grep -q '^3000 comparisons, [0-9]* pairs; ' rlhf.txt && grep -q '^rlhf: sees the lexicon' rlhf.txt
[[ $(grep -c '"explained_variance"' rlhf.jsonl) -eq 3 ]]
! grep -q '^rlhf' run.txt || { echo "RLHF ran unasked"; exit 1; }

# refuse WORDS ARGUMENT...: the program fails at once, says these words, and leaves no file.
refuse() {
    local words=$1
    shift
    if timeout 20 "$program" --picture refused.svg --json refused.json "$@" > refused.txt 2>&1; then
        echo "not refused: $*"; exit 1
    fi
    grep -qF -- "$words" refused.txt || { echo "refused $* without '$words':"; cat refused.txt; exit 1; }
    ! grep -q 'nats a character' refused.txt || { echo "trained before it refused $*"; exit 1; }
    [[ ! -e refused.json && ! -e refused.svg ]] || { echo "left a file when it refused $*"; exit 1; }
}
printf 'casa\ncan\xff\n' > bytes.txt
printf 'casa\nincomprensibilmentequalcosa\n' > long.txt
printf 'uno\ndue\ntre\n' > few.txt
: > empty.txt
refuse 'bytes.txt:2' --demos bytes.txt
refuse 'long.txt:2' --demos long.txt
refuse 'long.txt:2' --base long.txt --demos few.txt
refuse 'long.txt:2' --lexicon long.txt
refuse 'at least 100 words, got 3' --skip-long --base long.txt --demos few.txt
refuse 'at least 100 words, got 3' --demos few.txt
refuse 'empty.txt' --demos empty.txt
refuse 'empty.txt' --base empty.txt --demos few.txt
refuse 'missing.txt' --base missing.txt
refuse 'missing.txt' --lexicon missing.txt
refuse 'klingon' --target klingon
refuse 'dqn' --method rlhf,dqn
refuse 'nowhere/base_1.safetensors' --load nowhere
refuse 'few.txt/run.jsonl' --log few.txt/run.jsonl
