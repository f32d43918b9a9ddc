#!/usr/bin/env bash
# Makes a fresh machine ready: Python, .venv with the pinned packages, and the tools that scans run.
#
#   ./setup.sh scan     what a scan needs
#   ./setup.sh tools    builds the tools that no system package has (TOOLS="amass" chooses), with Go
#   ./setup.sh all      both; without Go, without these tools
#   ./setup.sh lint     that of the checkers only: no system packages
#   ./setup.sh test     what a scan needs, and the servers that tests scan and keep data in
#   ./setup.sh pins     writes requirements*.txt anew from pyproject.toml
#
# Quick when nothing is to do. PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly WANT="${1:-scan}"
readonly STAMP=.venv/.installed
readonly IN_VAIN=.venv/.packages-in-vain
# Users' PATH often lacks the directories where zmap and the like, and Go, are put.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"

say() { printf 'Setting up: %s\n' "$*" >&2; }
stop() {
    printf 'Setting up failed: %s\n' "$*" >&2
    exit 3
}

# --- the system's packages -------------------------------------------------------------------------------------------

as_root=()
may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
}

apt() {
    local log
    log=$(mktemp)
    # An empty array is an unbound one to older bash under `set -u`; a service that a package starts must not keep the lock.
    if ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null 9<&-; then
        rm -f "$log"
    else
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

lists_are_new=no
refresh_lists() {
    [ "$lists_are_new" = no ] || return 0
    lists_are_new=yes
    say "asking the system's package lists"
    apt update || say "the package lists could not be brought up to date; going on with those there are"
}

# One package after another, so that one the distribution does not have keeps no other away.
install_packages() {
    local package failed=0
    refresh_lists
    for package in "$@"; do
        say "system package $package"
        apt install -y --no-install-recommends "$package" || failed=1
    done
    return "$failed"
}

# need COMMAND PACKAGE WHY: installs the package where the command is missing. Never stops the set-up: Pulsar itself
# reports missing tools, and a scan without one says so.
need() {
    local command=$1 package=$2 why=$3
    command -v "$command" >/dev/null && return 0
    if grep -qxs "$package" "$IN_VAIN"; then return 0; fi
    if may_install && install_packages "$package"; then return 0; fi
    say "$command is missing ($why). Install it with your system's packages, on Debian: apt-get install $package"
    echo "$package" >>"$IN_VAIN"
}

scanners() {
    need nmap nmap "ports, services, versions: hardly any scan goes without"
    need zmap zmap "wide sweeps of networks"
    need masscan masscan "sweeps of many ports, where a policy asks for it"
    need whatweb whatweb "what web servers run"
    need bwrap bubblewrap "extensions are refused without this sandbox"
    need ip iproute2 "which gateway a sweep goes through"
    need prlimit util-linux "limits on what a tool may use"
    need setpriv util-linux "tools of extensions run without root's rights"
    need timeout coreutils "a tool that hangs is stopped"
    need ps procps "what runs on this machine"
}

declare -rA LISTENERS=(
    [nft]=nftables [nginx]=nginx [sshd]=openssh-server [redis-server]=redis-server [memcached]=memcached
    [vsftpd]=vsftpd [openssl]=openssl [dig]=bind9-dnsutils [curl]=curl
)

has_listeners() {
    local program
    for program in "${!LISTENERS[@]}"; do command -v "$program" >/dev/null || return 1; done
}

# Servers for the tests, which start them themselves: Debian's packages would start each of them at once, on every address.
listeners() {
    local policy=/usr/sbin/policy-rc.d made=no
    if ! has_listeners && may_install && [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | ${as_root[@]+"${as_root[@]}"} tee "$policy" >/dev/null
        ${as_root[@]+"${as_root[@]}"} chmod 755 "$policy"
        made=yes
    fi
    local program
    for program in "${!LISTENERS[@]}"; do need "$program" "${LISTENERS[$program]}" "the tests that scan it are skipped"; done
    [ "$made" = no ] || ${as_root[@]+"${as_root[@]}"} rm -f "$policy"
}

has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

postgresql() {
    has_postgresql && return 0
    if grep -qxs postgresql "$IN_VAIN"; then return 0; fi
    if may_install; then
        # Debian's package starts a database server of its own at once, unless it is told not to.
        local conf=/etc/postgresql-common/createcluster.conf
        if [ ! -e "$conf" ]; then
            ${as_root[@]+"${as_root[@]}"} mkdir -p "${conf%/*}"
            echo 'create_main_cluster = false' | ${as_root[@]+"${as_root[@]}"} tee "$conf" >/dev/null
        fi
        install_packages postgresql && return 0
    fi
    say "PostgreSQL's server is missing: its tests are skipped. On Debian: apt-get install postgresql"
    echo postgresql >>"$IN_VAIN"
}

# --- tools that are built --------------------------------------------------------------------------------------------

readonly MODULES=deployments/tools TOOLS_BUILT=.tools/bin

package_of() { sed -n 's/^import _ "\(.*\)"$/\1/p' "$MODULES/$1/tools.go"; }
# The version that go.mod pins of the module which the package belongs to.
version_of() {
    local module path version
    module=$(package_of "$1")
    while read -r path version; do
        case "$module/" in "$path"/*) echo "${version#v}" && return 0 ;; esac
    done < <(sed -n 's/^\(require\)\{0,1\}[[:space:]]\{1,\}\([^[:space:](]\{1,\}\) v\([^[:space:]]*\).*/\2 \3/p' "$MODULES/$1/go.mod")
}
pin_of() { cat "$MODULES/$1/"go.* | cksum; }
is_built() { [ -x "$TOOLS_BUILT/$1" ] && [ "$(cat "$TOOLS_BUILT/../$1.pin" 2>/dev/null)" = "$(pin_of "$1")" ]; }

build() {
    local name=$1 log package program=$PWD/$TOOLS_BUILT/$1
    is_built "$name" && return 0
    log=$(mktemp)
    package=$(package_of "$name")
    mkdir -p "$TOOLS_BUILT"
    printf 'Setting up: building %s %s with Go (the first time, some minutes): ' "$name" "$(version_of "$name")" >&2
    SECONDS=0
    # go.sum holds the hashes of all that is fetched; without cgo no C compiler is needed.
    if (cd "$MODULES/$name" && CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly nice go build -trimpath -buildvcs=false \
        -o "$program.new" "$package") >"$log" 2>&1 </dev/null 9<&-; then
        mv "$program.new" "$program"
        pin_of "$name" >"$TOOLS_BUILT/../$name.pin"
        printf '%d s\n' "$SECONDS" >&2
        rm -f "$log"
    else
        printf 'failed\n' >&2
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

has_go() {
    command -v go >/dev/null && return 0
    say "Go is missing, with which amass and nuclei are built: apt-get install golang-go, or take the projects' own releases"
    return 1
}

tools() {
    local name failed=0
    for name in ${TOOLS:-amass nuclei}; do
        [[ "$name" =~ ^[a-z]+$ && -d "$MODULES/$name" ]] || stop "there is no tool of that name to build: amass or nuclei"
        build "$name" || failed=1
    done
    return "$failed"
}

# --- Python ----------------------------------------------------------------------------------------------------------

runs() { "$1" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; }
makes_venvs() { "$1" -c "import ensurepip, venv" >/dev/null 2>&1; }

# Prints the first interpreter that is new enough, preferring one that can make virtual environments.
find_python() {
    local name first=""
    for name in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
        runs "$name" || continue
        if makes_venvs "$name"; then
            echo "$name"
            return 0
        fi
        first="${first:-$name}"
    done
    [ -n "$first" ] && echo "$first"
}

python=""
choose_python() {
    python=$(find_python) && makes_venvs "$python" && return 0
    local minor
    minor=$([ -z "$python" ] || "$python" -c 'import sys; print("python3.%d" % sys.version_info[1])')
    may_install || stop "Pulsar needs Python 3.11 or newer with its venv module. On Debian: apt-get install python3-venv"
    if [ -n "$minor" ]; then
        install_packages python3-venv "$minor-venv" || true
    else
        install_packages python3 python3-venv || true
        # Older distributions keep a newer Python beside their own.
        find_python >/dev/null || install_packages python3.11 python3.11-venv || true
    fi
    python=$(find_python) && makes_venvs "$python" ||
        stop "no Python 3.11 or newer with its venv module was found; set PYTHON to where one is"
}

# What the environment was made from; it is made anew or brought up to date when any of it changes.
fingerprint() {
    pwd
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; print(sys.version)'
    cat requirements.txt requirements-dev.txt pyproject.toml | cksum
}

is_installed() { [ -f "$STAMP-$1" ] && [ "$(cat "$STAMP-$1")" = "$(fingerprint)" ]; }

make_venv() {
    runs .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 && [ "$(cat .venv/.home 2>/dev/null)" = "$PWD" ] && return 0
    choose_python
    say "Python environment in .venv ($("$python" --version 2>&1))"
    "$python" -m venv --clear .venv || stop "the Python environment could not be made; see above"
    pwd >.venv/.home
}

packages() {
    local level=$1 file=requirements.txt
    if is_installed "$level" || is_installed dev; then return 0; fi
    [ "$level" = run ] || file=requirements-dev.txt
    make_venv
    if compgen -G "$STAMP-*" >/dev/null; then say "Python packages"; else say "Python packages (first time, a minute or two)"; fi
    local pip=(.venv/bin/python -m pip --disable-pip-version-check -q)
    "${pip[@]}" install --use-pep517 --require-hashes -r "$file" ||
        stop "the Python packages of $file could not be installed (see above); pip must reach a package index"
    say "Pulsar itself"
    "${pip[@]}" install --no-deps -e . || stop "Pulsar's own package could not be installed; see above"
    fingerprint >"$STAMP-$level"
}

# pip before 23.1 takes the pin of `name[extra]` for no pin of `name` when hashes are asked for, and the other way
# round: what is pinned with extras is pinned by its plain name as well.
with_plain_names() {
    awk '
        function flush() { printf "%s%s", plain, block; plain = block = "" }
        /^[A-Za-z0-9]/ { flush(); has_extras = /\[[^]]*\]==/ }
        { block = block $0 "\n" }
        has_extras { sub(/\[[^]]*\]==/, "=="); plain = plain $0 "\n" }
        END { flush() }'
}

pins() {
    local uv=uv file
    if ! command -v uv >/dev/null; then
        packages run
        .venv/bin/python -m pip --disable-pip-version-check -q install uv
        uv=.venv/bin/uv
    fi
    local compile=("$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade --no-strip-extras
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" pyproject.toml)
    file=$(mktemp)
    "${compile[@]}" -o "$file"
    with_plain_names <"$file" >requirements.txt
    "${compile[@]}" --extra dev -o "$file"
    with_plain_names <"$file" >requirements-dev.txt
    rm -f "$file"
}

if command -v flock >/dev/null; then
    # Two of these at once would tear each other's environment. The lock is this directory, as .venv may be emptied.
    exec 9<.
    flock 9
fi
case "$WANT" in
scan)
    packages run
    scanners
    ;;
all)
    packages run
    scanners
    if has_go; then tools || say "going on without what could not be built"; fi
    ;;
tools)
    command -v go >/dev/null || { may_install && install_packages golang-go; } || true
    has_go || exit 3
    tools || stop "not every tool could be built; see above"
    ;;
lint) packages dev ;;
test)
    packages dev
    scanners
    listeners
    postgresql
    ;;
pins) pins ;;
*) stop "there is no set-up of that name: all, scan, tools, lint, test or pins" ;;
esac
