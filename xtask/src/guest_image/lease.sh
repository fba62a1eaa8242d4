#!/bin/sh
# /lib/hanse/lease EVENT: called by udhcpc, which passes the lease in variables, when an address comes or goes.
. /lib/hanse/instance.sh

# The interface number in the metric gives every route its own entry and prefers the first interface.
add_route() {
    metric=$((100 + $(cat "/sys/class/net/$interface/ifindex")))
    if [ "$2" = 0.0.0.0 ]; then
        ip route replace "$1" dev "$interface" metric $metric
    else
        # "onlink": the gateway need not lie within the subnet, as with a /32 address.
        ip route replace "$1" via "$2" dev "$interface" metric $metric onlink
    fi
}

case "$1" in
deconfig)
    ip addr flush dev "$interface" scope global
    rm -f "/run/nic.$interface/address" "/run/nic.$interface/dns"
    ;;
bound | renew)
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    if [ "$(cat "/run/nic.$interface/address" 2>/dev/null)" != "$ip/$mask" ]; then
        ip -4 addr flush dev "$interface"
        ip addr add "$ip/$mask" brd + dev "$interface"
        echo "$ip/$mask" >"/run/nic.$interface/address"
        say "$interface $ip/$mask"
    fi
    # RFC 3442: who understands classless routes ignores the router option when they are given.
    routes=${staticroutes:-$msstaticroutes}
    if [ -z "$routes" ] && [ -n "$router" ]; then
        routes="0.0.0.0/0 ${router%% *}"
    fi
    set -- $routes
    while [ $# -ge 2 ]; do
        add_route "$1" "$2"
        shift 2
    done
    {
        [ -n "$domain" ] && echo "search $domain"
        for server in $dns; do echo "nameserver $server"; done
    } >"/run/nic.$interface/dns"
    # A name from DHCP counts only for who has no other.
    [ -n "$hostname" ] && [ "$(hostname)" = hanse-guest ] && hostname "$hostname"
    /lib/hanse/metadata &
    ;;
esac
cat /run/nic.*/dns >/etc/resolv.conf 2>/dev/null
exit 0
