# Functions shared by the guest's scripts: speaking on the console, and becoming the instance that a config drive or
# the metadata service describes.

export PATH=/sbin:/bin

# What survives a reboot: the id of the instance, its host key, and the mark that its user data ran.
STATE=/mnt/.hanse

# Says something on the serial console. The tests of Hanse wait for some of these lines: change them with care.
say() {
    echo "hanse-guest: $*" >/dev/console
}

# value NAME: the value of a member of the instance's meta_data.json; nested names are joined by dots.
value() {
    awk -F '\t' -v name="$1" '$1 == name { print $2; exit }' /run/instance
}

# adopt DIRECTORY SOURCE: becomes the instance described by DIRECTORY/meta_data.json and DIRECTORY/user_data.
adopt() {
    awk -f /lib/hanse/flatten.awk "$1/meta_data.json" >/run/instance.new || {
        say "the $2 holds no valid meta_data.json"
        return 1
    }
    mv /run/instance.new /run/instance
    id=$(value uuid)
    say "instance $id from $2"

    # A disk that was copied from another instance must not keep that one's identity.
    if [ "$(cat $STATE/instance 2>/dev/null)" != "$id" ]; then
        rm -f $STATE/host_key $STATE/user_data_ran
        echo "$id" >$STATE/instance.new && mv $STATE/instance.new $STATE/instance
    fi

    name=$(value hostname)
    [ -n "$name" ] || name=$(value name)
    if [ -n "$name" ]; then
        hostname "${name%%.*}"
        echo "127.0.0.1 localhost $name ${name%%.*}" >/etc/hosts
    fi
    say "hostname $(hostname)"

    awk -F '\t' '$1 ~ /^public_keys\./ { print $2 }' /run/instance >/root/.ssh/authorized_keys.new
    mv /root/.ssh/authorized_keys.new /root/.ssh/authorized_keys
    say "$(grep -c . /root/.ssh/authorized_keys) ssh keys"

    run_user_data "$1/user_data" &
}

# Runs user data that is a script, once in the life of the instance, with its output on the console. The mark is
# written first: a script that does not survive its own run must not be run again at every boot.
run_user_data() {
    [ "$(head -c 2 "$1" 2>/dev/null)" = "#!" ] || return 0
    [ -e $STATE/user_data_ran ] && return 0
    touch $STATE/user_data_ran
    sync
    cp "$1" /run/user_data
    chmod 700 /run/user_data
    cd /root || return 1
    /run/user_data >/dev/console 2>&1 </dev/null
    say "user data ended with status $?"
}

# Starts the ssh server, with the instance's own host key, which is made when there is none. dropbear listens before
# it goes to the background, so when this returns, connections are taken.
start_sshd() {
    if [ ! -s $STATE/host_key ]; then
        rm -f $STATE/host_key
        dropbearkey -t ed25519 -f $STATE/host_key >/dev/null 2>&1
        sync
    fi
    dropbear -s -r $STATE/host_key -P /run/dropbear.pid
}
