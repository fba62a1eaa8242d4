#!/bin/sh
# /lib/hanse/metadata: asks the metadata service who this instance is. A config drive wins over the answer, which is
# then only reported: the line on the console proves that the service can be reached.
. /lib/hanse/instance.sh

# Once per boot; a failed attempt is repeated with the next lease.
mkdir /run/metadata 2>/dev/null || exit 0

# busybox's static wget crashes in its own timeout (-T), hence the outer one.
fetch() {
    timeout 3 wget -q -O "/run/metadata/$1.new" "http://169.254.169.254/openstack/latest/$1" 2>/dev/null &&
        mv "/run/metadata/$1.new" "/run/metadata/$1"
}

tries=0
until fetch meta_data.json; do
    tries=$((tries + 1))
    if [ $tries -ge 20 ]; then
        say "metadata: unreachable"
        rm -rf /run/metadata
        exit 1
    fi
    sleep 1
done

id=$(awk -f /lib/hanse/flatten.awk /run/metadata/meta_data.json | awk -F '\t' '$1 == "uuid" { print $2; exit }')
if [ ! -e /run/instance ]; then
    fetch user_data
    old=$(cat $STATE/instance 2>/dev/null)
    adopt /run/metadata "metadata service"
    # The ssh server has started with the host key of whom this disk belonged to before.
    if [ "$old" != "$id" ]; then
        kill "$(cat /run/dropbear.pid)"
        start_sshd
    fi
fi
say "metadata: $id"
