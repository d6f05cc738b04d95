#!/usr/bin/env bash
# Installs what the tests need and runs all of them: format, lints, Rust tests, the interop tests against
# mosquitto, pymodbus, PyJWT and libosdp, the demo, a hundred seeds of the simulation and every mistake planted
# in it, millions of decisions against the naive evaluator. Says how long each step took. Needs Rust, Python 3.11 and, for what is missing, apt-get as root or
# through sudo.
#
#   tests/run.sh              everything
#   tests/run.sh STEP...      some of: packages format lints tests interop demo simulation decisions
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${CARGO_TARGET_DIR:-target}
VENV=$TARGET/interop-venv
SUMMARY=()

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

has() {
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null
}

packages() {
    local missing=()
    has mosquitto || missing+=(mosquitto)
    has mosquitto_sub || missing+=(mosquitto-clients)
    has socat || missing+=(socat)
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
    has cc || missing+=(build-essential)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        echo "installing ${missing[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    fi
    local wanted
    wanted=$(sha256sum tests/interop/requirements.txt)
    if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
        echo "$wanted" >"$VENV/installed"
    fi
}

format() {
    cargo fmt --all -- --check
}

lints() {
    cargo clippy --quiet --workspace --all-targets -- -D warnings
}

tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --no-fail-fast
        cargo test --quiet --workspace --doc
    else
        cargo test --quiet --workspace --no-fail-fast
    fi
}

interop() {
    cargo build --quiet --bin latchd
    # These tests wait more than they compute: what later steps need is built meanwhile, and gives way to them. What
    # goes wrong there is said when it is needed.
    case " ${steps[*]} " in
    *" demo "* | *" simulation "* | *" decisions "*) (nice -n 19 tests/run.sh in_release >/dev/null 2>&1 || true) & ;;
    esac
    export LATCHD_BIN=${LATCHD_BIN:-$(realpath "$TARGET")/debug/latchd}
    "$VENV/bin/python" -m pytest tests/interop -p no:cacheprovider --durations=5
}

# In one build: two would compile the daemon twice, for it has other features beside the demo's libraries.
in_release() {
    cargo build --quiet --release -p latchd -p latchd-sim --example demo --bin latchd-sim --test decision
}

demo() {
    in_release
    "$TARGET/release/examples/demo"
}

simulation() {
    in_release
    "$TARGET/release/latchd-sim" --seeds 1..100
    "$TARGET/release/latchd-sim" --mistakes
}

# Of the same packages as above, or the daemon would be compiled again.
decisions() {
    in_release
    LATCHD_CASES=${LATCHD_CASES:-3000} cargo test --quiet --release -p latchd -p latchd-sim --test decision \
        the_compiled_decision -- --nocapture
}

step() {
    local start=$SECONDS status
    printf '\n==== %s\n' "$1"
    # Called where -e is off, or bash would ignore it within the step, too.
    (set -e; "$1")
    status=$?
    SUMMARY+=("$(printf '%-10s %4d s  %s' "$1" $((SECONDS - start)) "$([ $status -eq 0 ] && echo ok || echo FAILED)")")
    return $status
}

finish() {
    printf '\n'
    [ ${#SUMMARY[@]} -eq 0 ] || printf '%s\n' "${SUMMARY[@]}"
}
trap finish EXIT

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(packages format lints tests interop demo simulation decisions)
failed=0
set +e
for name in "${steps[@]}"; do
    case $name in
    in_release) in_release || failed=1 ;;
    packages | format | lints | tests | interop | demo | simulation | decisions)
        step "$name"
        [ $? -eq 0 ] || failed=1
        ;;
    *)
        echo "no step $name" >&2
        exit 2
        ;;
    esac
    # Nothing after a failed installation can work; the other steps are all shown.
    if [ $failed -ne 0 ] && [ "$name" = packages ]; then break; fi
done
exit $failed
