#!/bin/bash
# Runs the tests with a checker that watches the library and the filesystems:
#   address    AddressSanitizer with LeakSanitizer
#   thread     ThreadSanitizer
#   undefined  UndefinedBehaviorSanitizer for the C parts; Rust's own checks
#              (debug assertions, overflow, preconditions of unsafe functions)
#   valgrind   10,000 requests and a destroy under valgrind
# Each has a build of its own in build/sanitized/. A report, of any process, is a
# failure. What is suppressed, and why: tests/sanitizers/.
# usage: sanitize.sh CHECKER [ARGUMENT OF cargo test...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

checker=${1:-}
[ $# = 0 ] || shift
toolchain=${RINGFUSE_NIGHTLY:-nightly}
work=$build/sanitized/$checker
rules=$top/tests/sanitizers

# Tests of files: what they look at is the build in build/, headers, documents and
# other machines, and they run none of what is built here. And what a process takes
# of memory, of which a checker takes more.
static='arch cbindgen consumers coverage headers install memory reference releases symbols tool tool_doctor tool_status tool_top vm'

# What each checker has to see in tests/sanitizers/defects.c.
declare -A defects=([address]='heap leak' [thread]=race [undefined]=overflow)

# need_nightly COMPONENT
need_nightly() {
    command -v rustup >/dev/null ||
        die "the sanitizers need a nightly Rust, which rustup installs: https://rustup.rs"
    rustup run "$toolchain" rustc --version >/dev/null 2>&1 ||
        die "the sanitizers need a nightly Rust; install one beside the other:
    rustup toolchain install $toolchain --profile minimal --component $1"
    rustup component list --toolchain "$toolchain" --installed | grep -q "^$1" ||
        die "the toolchain $toolchain lacks $1; add it:
    rustup component add $1 --toolchain $toolchain"
}

# The tests to run: those that the caller names, or all but the static ones.
select_tests() {
    tests=("$@")
    [ $# = 0 ] || return 0
    local file name
    tests=(--lib)
    for file in "$top"/tests/*.rs; do
        name=$(basename "$file" .rs)
        [[ " $static " = *" $name "* ]] || tests+=(--test "$name")
    done
}

# setup MESON_OPTION...
setup() {
    [ -e "$work/build.ninja" ] || meson setup "$work" "$top" -Dtool=false "$@" >"$build/sanitized/setup.log" ||
        die "meson setup failed: $(cat "$build/sanitized/setup.log")"
    ninja -C "$work"
}

# Runs the tests, and says what the checker reported in any process.
run_tests() {
    local status=0 reports
    rm -rf "$work/reports"
    mkdir -p "$work/reports"
    # A checker is slow. That every operation is called 50 times is shown without one
    # (below 10,000 the test does not ask for it).
    export RINGFUSE_DIFFERENTIAL_OPS=${RINGFUSE_DIFFERENTIAL_OPS:-8000}
    export RINGFUSE_TEST_ROUNDS=${RINGFUSE_TEST_ROUNDS:-10}
    load_fuse
    trap await_restoration EXIT
    trap 'exit 130' INT TERM
    RINGFUSE_TEST_BUILD=$work/tests/fs RINGFUSE_TEST_LIBDIR=$work \
        "$top/scripts/cargo.sh" test --no-fail-fast "${tests[@]}" || status=$?
    reports=$(find "$work/reports" -type f -size +0)
    if [ -n "$reports" ]; then
        say "" "Reports, in $work/reports:"
        # shellcheck disable=SC2086
        grep -hE "^(SUMMARY|.*runtime error)" $reports | sort | uniq -c
        die "$checker: $(wc -w <<<"$reports") processes had something to report"
    fi
    [ "$status" = 0 ] || die "$checker: tests failed; there were no reports"
    say "$checker: all tests passed, and no process had anything to report"
}

# A Rust sanitizer: the library and the tests built with it, the standard library
# too (thread needs that), and gcc's code on rustc's runtime, since a process can
# have only one. rustc speaks the same language to it as gcc.
rust_sanitizer() {
    local name=$1 host runtime
    need_nightly rust-src
    host=$(rustup run "$toolchain" rustc -vV | sed -n 's/^host: //p')
    runtime=$(rustup run "$toolchain" rustc --print target-libdir)/librustc-nightly_rt.$name.a
    [ -e "$runtime" ] || die "$toolchain has no runtime for -Zsanitizer=$checker on $host"
    export RUSTUP_TOOLCHAIN=$toolchain CARGO_BUILD_TARGET=$host
    export CARGO_UNSTABLE_BUILD_STD=std,panic_abort
    export RUSTFLAGS="-Zsanitizer=$checker -Cforce-frame-pointers=yes"
    [ "$checker" != thread ] || RUSTFLAGS+=' --cfg ringfuse_tsan' # src/sys/kernel_order.rs
    rust_checks
    local flags="-fsanitize=$checker -fno-omit-frame-pointer"
    local link="-Wl,--export-dynamic,--whole-archive,$runtime,--no-whole-archive"
    setup -Dc_args="$flags" -Db_lundef=false \
        -Dprogram_link_args="['$link', '-lm', '-ldl', '-lrt', '-lresolv']"
    prove_sight "$flags" "$link -lm -ldl -lrt -lresolv"
    export RINGFUSE_TEST_CHECKED="$link -lm -ldl -lrt -lresolv"
    # Tests unwind; with the other kind of panic in the profile cargo would build
    # the standard library twice, and mix them.
    export CARGO_TARGET_DIR=$work/cargo-test CARGO_PROFILE_DEV_PANIC=unwind
    run_tests
}

# prove_sight CFLAGS LINK_ARGS: a checker that reports nothing may be one that
# sees nothing. What has no defect must pass, and each defect that this checker
# is for must be reported.
prove_sight() {
    local defect status
    # shellcheck disable=SC2086
    cc -g $1 -I"$top/include" -c "$rules/defects.c" -o "$work/defects.o" # or cc would link gcc's runtime
    # shellcheck disable=SC2086
    cc "$work/defects.o" -o "$work/defects" -L"$work" -Wl,-rpath,"$work" -l:libfuse3.so.4 -pthread $2
    for defect in none ${defects[$checker]}; do
        rm -rf "$work/reports"
        mkdir -p "$work/reports"
        status=0
        "$work/defects" "$defect" >/dev/null 2>&1 || status=$?
        if [ "$defect" = none ]; then
            [ "$status" = 0 ] || die "$checker: reports a program without a defect: $(cat "$work"/reports/*)"
        elif [ "$status" = 0 ] || [ -z "$(ls "$work/reports")" ]; then
            die "$checker: does not see the defect '$defect' of tests/sanitizers/defects.c"
        fi
    done
}

# What Rust can check by itself: also the preconditions of the standard library's
# unsafe functions. Without LTO, which reports would have to be read through.
rust_checks() {
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
}

mkdir -p "$build/sanitized"
export CARGO_INCREMENTAL=0 # a gigabyte per checker, for builds that are seldom repeated
log=log_path=$work/reports/report
case $checker in
address)
    select_tests "$@"
    # The failure handlers are the library's own (and a crash ends a test anyway).
    export ASAN_OPTIONS=$log:detect_stack_use_after_return=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0
    export LSAN_OPTIONS=suppressions=$rules/lsan.txt:print_suppressions=0
    rust_sanitizer asan
    ;;
thread)
    select_tests "$@"
    export TSAN_OPTIONS=$log:suppressions=$rules/tsan.txt:print_suppressions=0:die_after_fork=0:second_deadlock_stack=1:history_size=4:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0
    rust_sanitizer tsan
    ;;
undefined)
    select_tests "$@"
    export UBSAN_OPTIONS=$log:print_stacktrace=1:halt_on_error=1
    rust_checks
    flags='-fsanitize=undefined -fno-sanitize-recover=undefined'
    setup -Db_sanitize=undefined -Db_lundef=false -Dc_args=-fno-sanitize-recover=undefined
    prove_sight "$flags" "$flags"
    export RINGFUSE_TEST_CHECKED=$flags
    run_tests
    ;;
valgrind)
    ninja -C "$build"
    "$top/scripts/cargo.sh" test --test valgrind "$@"
    ;;
*) die "usage: sanitize.sh address|thread|undefined|valgrind [ARGUMENT OF cargo test...]" ;;
esac
