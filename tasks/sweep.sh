# Sweeps networks for open TCP ports with ZMap or masscan, each over the way that the kernel would take to it.
#
#   sh sweep ENGINE RATE COOLDOWN PROBES JOBS PORTS [-b EXCLUDE_FILE]
#
# Reads `targets`: a network, its first and its last address a line. Writes `unrouted` (networks to which
# no gateway leads: the worker's own link, a tunnel, or none), `mute` (networks whose gateway does not answer), `swept`
# (a port, 0 for all of them, and a network it was swept for), `found-PORT` and `sent-PORT` (what zmap writes for a
# port) or `found` (what masscan writes). Prints how far it is.
#
# Both sweepers write whole frames to a gateway. Left to itself zmap 2.1.1 takes the default gateway, gives up where
# the kernel does not know that one's hardware address, and hangs where it does; so all three are looked up here.

engine=$1 rate=$2 cooldown=$3 probes=$4 jobs=$5 ports=$6
shift 6

# The gateway, interface and source address that lead to $1; nothing where no gateway does.
way() {
    ip -4 -o route get "$1" 2>/dev/null |
        sed -n 's/^[0-9.]* via \([0-9.]*\) dev \([^ ]*\) .*src \([0-9.]*\) .*/\1 \2 \3/p'
}

# The hardware address of gateway $1 on interface $2. Asking for it sends nothing but ARP.
hardware() {
    for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        known=$(ip -o neigh show to "$1" dev "$2" | sed -n 's/.* lladdr \([0-9a-f:]*\) .*/\1/p')
        [ -n "$known" ] && echo "$known" && return
        [ "$attempt" = 1 ] && ip neigh replace "$1" dev "$2" use
        sleep 0.1
    done
}

sort_out() {
    while read -r network first last; do
        here=$(way "$first")
        if [ -n "$here" ] && [ -n "$(way "$last")" ]; then
            echo "$here $network" >>routed
        else
            echo "$network" >>unrouted
        fi
    done <targets
}

zmap_port() {
    port=$1
    shift
    zmap -C /dev/null -w here -i "$interface" -S "$source" -G "$mac" -T 1 -p "$port" -r "$share" -P "$probes" \
        -c "$cooldown" -q -v 2 --disable-syslog -m "meta-$port" -O json \
        -f saddr,sport,success,classification,repeat --output-filter "success=1 && repeat=0" \
        -o - "$@" >>"found-$port" || return
    cat "meta-$port" >>"sent-$port"
    sed "s/^/$port /" here >>swept
}

zmap_all() {
    done=0
    for port in $(echo "$ports" | tr , ' '); do
        zmap_port "$port" "$@" &
        done=$((done + 1))
        [ $((done % jobs)) = 0 ] && wait && echo "$done of $total"
    done
    wait
}

# Once for each probe: with `--retries 1` masscan 1.3.2 sent 127 packets to each port of 64 addresses, not 2. Without
# `stdbuf` what it found is lost when it is ended.
masscan_all() {
    for probe in $(seq "$probes"); do
        stdbuf -oL masscan -iL here -e "$interface" --source-ip "$source" --router-mac "$mac" -p "$ports" \
            --rate "$rate" --retries 0 --wait "$cooldown" --open-only ${2:+--excludefile "$2"} -oJ - 2>&1 >>found || return
    done
    sed 's/^/0 /' here >>swept
}

: >routed
sort_out
total=$(echo "$ports" | tr , '\n' | wc -l)
share=$((rate / jobs))
cut -d ' ' -f 1-3 routed | sort -u >ways
while read -r gateway interface source; do
    mac=$(hardware "$gateway" "$interface")
    awk -v way="$gateway $interface $source" 'index($0, way " ") == 1 { print $4 }' routed >here
    if [ -z "$mac" ]; then
        cat here >>mute
        continue
    fi
    "${engine}_all" "$@"
done <ways
