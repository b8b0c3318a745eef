# Every recipe is a thin call. On a machine that lacks something, run them through `sh bootstrap.sh RECIPE`.
# `positional-arguments`, so that arguments with blanks stay whole.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Start the platform, run the scenarios, write a report: conform [FILTER…] [--profile P] [--jobs N] [--keep]
[no-exit-message]
conform *ARGS:
    @cargo run -p dora-scenarios --bin dora -- conform "$@"

# Scenarios under planted defects, each of which has to be noticed: prove [FILTER…] [--part 2/7]
[no-exit-message]
prove *ARGS:
    @cargo run -p dora-scenarios --bin dora -- prove "$@"

# Every test, also after a red one: unit, property, snapshot, and the scenarios on real databases
test *ARGS:
    cargo test --workspace --no-fail-fast "$@"

# Formatting, clippy without a warning, shellcheck
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck

# Licences, bans and sources of dependencies: deny [advisories] (those need RustSec's database, a git repository)
[no-exit-message]
deny *WHICH="licenses bans sources":
    cargo deny check {{WHICH}}

# Benchmarks of the harness itself, with criterion's options: bench [FILTER] [--save-baseline NAME | --baseline NAME]
bench *ARGS:
    cargo bench -p dora-benches --bench harness --bench linearizability -- "$@"

# A million damaged histories, or as many as you say: none may make the reader panic: fuzz [RUNS]
fuzz RUNS="1000000":
    DORA_FUZZ_RUNS={{RUNS}} cargo test --release -p dora-harness --test reading_histories -- --nocapture no_damage_makes_it_panic

# The linearizability checker beside Porcupine on the peer's own histories (needs Go): bench-peers [ROUNDS]
[no-exit-message]
bench-peers *ARGS:
    @cargo run --release -p dora-benches --example peers -- "$@"

# Start a topology and print its connection strings: up [--profile P] [--only redis,…]
[no-exit-message]
up *ARGS:
    @cargo run -p dora-scenarios --bin dora -- up "$@"

# Stop what `up` started
[no-exit-message]
down *ARGS:
    @cargo run -p dora-scenarios --bin dora -- down "$@"

# Ask every node for its role
[no-exit-message]
health *ARGS:
    @cargo run -p dora-scenarios --bin dora -- health "$@"

# Remove what a dead run left behind
[no-exit-message]
sweep *ARGS:
    @cargo run -p dora-scenarios --bin dora -- sweep "$@"

# List the images, or build them: images [--build]
[no-exit-message]
images *ARGS:
    @cargo run -p dora-scenarios --bin dora -- images "$@"

# List the scenarios with their clauses and sabotages: list [FILTER…]
[no-exit-message]
list *ARGS:
    @cargo run -p dora-scenarios --bin dora -- list "$@"

# Break what `up` started, on purpose and with proof: fault list|inject|heal
[no-exit-message]
fault *ARGS:
    @cargo run -p dora-scenarios --bin dora -- fault "$@"

# Decide a recorded history: check FILE --model MODEL
[no-exit-message]
check *ARGS:
    @cargo run -p dora-scenarios --bin dora -- check "$@"

# Check the policy of the zones, or put it in other words: policy check|render
[no-exit-message]
policy *ARGS:
    @cargo run -p dora-scenarios --bin dora -- policy "$@"

# Look at a report, or at the schema of its evidence: report open|show|schema
[no-exit-message]
report *ARGS:
    @cargo run -p dora-scenarios --bin dora -- report "$@"
