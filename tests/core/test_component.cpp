#include "rlgaf/core/component.hpp"
#include "support/catch.hpp"

using namespace rlgaf;

namespace {
struct plain {
    using role = rlgaf::role::reward;
    int operator()(int x) const { return x + 1; }
};
struct counting {
    using role = rlgaf::role::gate;
    struct state {
        int calls = 0;
        template <class Archive>
        void visit(Archive&) {}
    };
    int operator()(state& s, int x) const { return x + ++s.calls; }
};
struct archive_of_numbers {
    void operator()(std::string_view, double&) {}
};
}  // namespace

TEST_CASE("A component is known by its role, and by its state if it remembers") {
    static_assert(component<plain> && component<counting> && !component<int>);
    static_assert(component_of<plain, role::reward> && !component_of<plain, role::gate>);
    static_assert(!stateful<plain> && stateful<counting>);
    static_assert(std::same_as<state_of<plain>, no_state> && std::same_as<state_of<counting>, counting::state>);
    static_assert(archive<archive_of_numbers> && !archive<int>);
    no_state none;
    counting::state some;
    REQUIRE(call(plain{}, none, 1) == 2);
    REQUIRE(call(counting{}, some, 1) == 2);
    REQUIRE(call(counting{}, some, 1) == 3);
}
