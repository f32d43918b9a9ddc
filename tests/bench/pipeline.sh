#!/usr/bin/env bash
# What a careful engineer types by hand to look at one domain as `full_discovery` does: the measure that it is held to.
#
#   pipeline.sh DOMAIN RESOLVER WORDS ALLOWED EXCLUDED CT_URL DIRECTORY
#
# The same questions with the same tools, side by side where that is easy by hand. ALLOWED is the beginning of the
# addresses that may be touched, EXCLUDED one that may not. Leaves names, ports.xml, versions.xml and each tool's own
# output in DIRECTORY. Starts no daemon and ends by itself.
set -euo pipefail

readonly domain=$1 resolver=$2 words=$3 allowed=$4 excluded=$5 ct_url=$6
cd "$7"
readonly at_once=8
: >names

ask() { dig "@$resolver" +noall +answer +tries=2 +time=2 "$@"; }

# Answers of many names, asked in as many parts as run at once: `name TTL IN TYPE data` lines.
ask_all() {
    local list=$1 part
    rm -f part.*
    split -n "l/$at_once" "$list" part.
    for part in part.*; do ask -f "$part" >"$part.out" & done
    wait
    cat part.*.out
    rm -f part.*
}

ours() { { grep -oiE "([a-z0-9_-]+\.)*${domain//./\\.}" || true; } | tr '[:upper:]' '[:lower:]' | sed '/^_/d' | sort -u; }

# Adds to `names` what is new and has an address or an alias, and to `pairs` the addresses that may be touched.
resolve_new() {
    sort -u "$1" | comm -23 - <(sort -u asked 2>/dev/null || true) >new
    [ -s new ] || return 0
    sort -u new >>asked
    ask_all new >answers
    sed 's/$/ AAAA/' new >new6
    ask_all new6 >>answers
    awk -v ours=".$domain" -v wild="$wild" '
        { name = tolower($1); sub(/\.$/, "", name) }
        ($4 == "A" || $4 == "AAAA") && index("." name, ours) && ($5 != wild || name !~ /\.apps\./) { print name, $5 }
    ' answers | sort -u >>pairs
    awk '$4 == "CNAME" { sub(/\.$/, "", $1); print tolower($1) }' answers | ours >>names
    cut -d' ' -f1 pairs >>names
    sort -u names -o names
}

touchable() { cut -d' ' -f2 pairs | { grep -E "$allowed" || true; } | { grep -vxF "$excluded" || true; } | sort -u; }

# --- names -----------------------------------------------------------------------------------------------------------

: >pairs
wild=$(ask "nobody-has-this-$$.apps.$domain" A | awk '{ print $5 }' | head -1)
{
    echo "$domain"
    for kind in NS MX TXT SOA CAA; do ask "$domain" "$kind"; done
    for service in _sip._tcp _sips._tcp _sip._udp _xmpp-server._tcp _ldap._tcp _autodiscover._tcp; do
        ask "$service.$domain" SRV
    done
    ask "_dmarc.$domain" TXT
    [ -z "$ct_url" ] || curl -sf "$ct_url?q=%25.$domain&output=json" || true
} | ours >known
sed "s/$/.$domain/" "$words" >>known
echo "corp.$domain" >>known
resolve_new known

for zone in "$domain" "corp.$domain"; do
    ask "$zone" NS | awk '{ print $5 }' | while read -r server; do
        address=$(dig "@$resolver" +short "$server" A | { grep -E "$allowed" || true; } | head -1)
        [ -z "$address" ] || dig "@$address" "$zone" AXFR +noall +answer +time=3 || true
    done
done | ours >transferred
resolve_new transferred
touchable | while read -r address; do ask -x "$address"; done | ours >reversed
resolve_new reversed

# --- ports and versions ----------------------------------------------------------------------------------------------

ports_of() { # NUMBER: addresses, one a line -> swept and identified
    local list=$1 family=$2 flag=()
    [ -s "$list" ] || return 0
    [ "$family" = 4 ] || flag=(-6)
    nmap ${flag[@]+"${flag[@]}"} -n -Pn -sS -p- -T4 --max-retries 2 --min-rate 4000 -iL "$list" \
        -oX "$list.ports.xml" -oG "$list.ports" >/dev/null
    awk '/Ports:/ { host = $2; line = $0; while (match(line, /[0-9]+\/open\/tcp/)) {
            split(substr(line, RSTART, RLENGTH), part, "/"); print host, part[1]; line = substr(line, RSTART + RLENGTH) } }
    ' "$list.ports" | sort -u >"$list.open"
    # A tarpit is not asked for five hundred versions.
    awk '{ count[$1]++; line[NR] = $0; host[NR] = $1 } END { for (i in line) if (count[host[i]] < 100) print line[i] }
    ' "$list.open" >"$list.few"
    cut -d' ' -f1 "$list.few" | sort -u >"$list.hosts"
    nmap ${flag[@]+"${flag[@]}"} -n -Pn -sV --version-intensity 7 -T4 -iL "$list.hosts" \
        -p "$(cut -d' ' -f2 "$list.few" | sort -un | paste -sd,)" -oX "$list.versions.xml" -oG "$list.versions" >/dev/null
    awk '/Ports:/ { host = $2; sub(/.*Ports: /, ""); n = split($0, port, ", "); for (i = 1; i <= n; i++) {
            split(port[i], part, "/"); if (part[2] == "open") print host, part[1], part[5] } }
    ' "$list.versions" >>services
}

: >services
sweep() { # NUMBER
    touchable | comm -23 - <(sort -u swept 2>/dev/null || true) >"hosts.$1"
    cat "hosts.$1" >>swept
    grep -v : "hosts.$1" >"v4.$1" || true
    grep : "hosts.$1" >"v6.$1" || true
    ports_of "v4.$1" 4 &
    local first=$!
    ports_of "v6.$1" 6
    wait "$first"
}
sweep 1

# --- what the services say -------------------------------------------------------------------------------------------

bracketed() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac }

# Every web service by each name that leads to it: `scheme name address port`.
web() {
    awk '$3 ~ /http/ { print }' services | while read -r address port what; do
        scheme=http
        case $what in ssl*) scheme=https ;; esac
        for name in $(awk -v it="$address" '$2 == it { print $1 }' pairs); do echo "$scheme $name $address $port"; done
    done | sort -u
}
certificates() {
    awk '$3 ~ /^ssl/ { print $1, $2, "" } $3 == "smtp" { print $1, $2, "-starttls smtp" }' services |
        while read -r address port starttls; do
            for name in $(awk -v it="$address" '$2 == it { print $1 }' pairs); do
                # shellcheck disable=SC2086 - two words or none
                timeout 10 openssl s_client -connect "$(bracketed "$address"):$port" -servername "$name" $starttls \
                    </dev/null 2>/dev/null | openssl x509 -noout -text 2>/dev/null || true
            done
        done
}
certificates >certificates.txt
ours <certificates.txt >certified
resolve_new certified
sweep 2

whatweb_all() {
    web | awk '{ host = ($3 ~ /:/) ? "[" $3 "]" : $3; print $1 "://" host ":" $4 "/", $2 }' >web.list
    xargs -r -P "$at_once" -L 1 sh -c 'whatweb -q --no-errors -a 3 --open-timeout 5 --read-timeout 10 \
        --follow-redirect=never --header "Host: $2" --log-json="whatweb.$$.json" "$1"' sh <web.list || true
    xargs -r -P "$at_once" -L 1 sh -c 'for path in / .git/HEAD robots.txt; do
        curl -sk -m 10 -o /dev/null -D - -H "Host: $2" -g "$1$path"; done >"headers.$$"' sh <web.list || true
}
tls_all() {
    web | awk '$1 == "https" { host = ($3 ~ /:/) ? "[" $3 "]" : $3; print $2, host ":" $4 }' |
        xargs -r -P "$at_once" -L 1 sh -c 'sslscan --no-colour --sni-name="$1" --xml="tls.$$.xml" "$2" >/dev/null' sh
    awk '$3 == "smtp" { print $1 ":" $2 }' services |
        xargs -r -P "$at_once" -L 1 sh -c 'sslscan --no-colour --starttls-smtp --xml="tls.$$.xml" "$1" >/dev/null' sh
}
others_all() {
    awk '$3 == "ssh" { print $1, $2 }' services |
        xargs -r -P "$at_once" -L 1 sh -c 'ssh-audit -j --skip-rate-test -t 5 -p "$2" "$1" >"ssh.$$.json" || true' sh
    awk '$3 ~ /ftp|redis|memcache|domain|smtp/ { print $1 " " $2 }' services | while read -r address port; do
        nmap -n -Pn -p "$port" --script "ftp-anon,redis-info,memcached-info,dns-recursion,smtp-open-relay" \
            "$address" -oN "checks.$address.$port" >/dev/null &
    done
    wait
}
whatweb_all &
tls_all &
others_all &
wait
