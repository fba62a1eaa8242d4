//! DHCP and metadata.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hanse_node::documents::AddressPair;
use hanse_sdn::Model;

use crate::host::{on_host, run, within};
use crate::model::{id, mac, network, open_group, port};
use crate::workload::{DENIAL, PATIENCE, Workload};

/// What a guest's DHCP client does with what it is told.
const SCRIPT: &str = r#"#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip link set "$interface" mtu "$mtu"
set -- $staticroutes
while [ -n "$1" ]; do ip route add "$1" via "$2"; shift 2; done
echo "dns=$dns domain=$domain hostname=$hostname lease=$lease server=$serverid router=$router"
"#;

fn dhcp(workload: &Workload) -> (bool, String) {
    use std::os::unix::fs::PermissionsExt;
    let script = std::env::temp_dir().join(format!("{}.sh", workload.namespace));
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = "-n -q -f -t 5 -T 1 -O mtu -O staticroutes -O 121 -O hostname -O domain -O dns";
    let result = workload.exec(&format!("busybox udhcpc -i eth0 {options} -s {}", script.display()));
    std::fs::remove_file(script).unwrap();
    result
}

#[test]
fn a_guest_learns_its_address_and_settings_by_dhcp_and_reaches_its_neighbour() {
    on_host(|host| async move {
        let mut model = Model::default();
        let lan = network(&mut model, 1, "10.0.0");
        let all = open_group(&mut model, 9);
        // DHCP and metadata need no rule.
        let a = port(&mut model, 10, lan, "10.0.0.5", &[]);
        let b = port(&mut model, 11, lan, "10.0.0.6", &[all]);
        let [a, b] = host.start(&model, [a, b]).await;
        a.ip("addr flush dev eth0");
        b.ip("addr flush dev eth0");

        let (success, output) = dhcp(&a);
        assert!(success, "{output}");
        for expected in ["dns=192.0.2.53", "domain=cloud.internal", "hostname=guest-10", "server=10.0.0.2"] {
            assert!(output.contains(expected), "{expected} is missing in {output}");
        }
        let address = a.ip("addr show dev eth0");
        assert!(address.contains("inet 10.0.0.5/24") && address.contains("mtu 1442"), "{address}");
        let routes = a.ip("route");
        assert!(routes.contains("169.254.169.254 via 10.0.0.2"), "{routes}");
        assert!(routes.contains("default via 10.0.0.1"), "{routes}");

        assert!(dhcp(&b).0);
        assert!(a.metadata("/latest/user-data").is_some());
        // Only b may send and be sent to.
        assert!(a.ping_fails("10.0.0.6"));
        let port = model.ports.get_mut(&id(10)).unwrap();
        port.groups = vec![all];
        host.apply(&model).await;
        assert!(a.pings("10.0.0.6"));
        assert!(b.pings("10.0.0.5"));

        // A stranger on the same network gets nothing.
        model.ports.get_mut(&id(10)).unwrap().mac = mac(99);
        host.apply(&model).await;
        a.ip("addr flush dev eth0");
        assert!(!a.exec("busybox udhcpc -i eth0 -n -q -f -t 2 -T 1 -s /bin/true").0);
    });
}

fn service_connects(workload: &Workload, limit: Duration) -> bool {
    within(&workload.namespace, || {
        let address = SocketAddr::from(([169, 254, 169, 254], 80));
        TcpStream::connect_timeout(&address, limit).is_ok()
    })
}

#[test]
fn each_guest_reads_its_own_metadata_also_where_two_networks_have_the_same_addresses() {
    on_host(|host| async move {
        let mut model = Model::default();
        let one = network(&mut model, 1, "10.0.0");
        let two = network(&mut model, 2, "10.0.0");
        let a = port(&mut model, 10, one, "10.0.0.5", &[]);
        let b = port(&mut model, 11, one, "10.0.0.6", &[]);
        let c = port(&mut model, 12, two, "10.0.0.5", &[]);
        let workloads = host.start(&model, [a, b, c]).await;
        for (workload, number) in workloads.iter().zip([10, 11, 12]) {
            workload.routes("10.0.0.1", "10.0.0.2");
            let (status, body) = workload.metadata("/openstack/latest/meta_data.json").unwrap();
            assert_eq!((status, body), (200, format!("{{\"uuid\":\"{}\"}}", id(number))));
            let (_, body) = workload.metadata("/latest/user-data/").unwrap();
            assert_eq!(body, format!("secret of {number}"));
            assert_eq!(workload.metadata("/etc/passwd").unwrap().0, 404);
        }

        // From here on the service believes that the address of guest a is at b's MAC, as if b had won at ARP.
        let service = format!("{}-s00000001000", host.namespace());
        run(&format!("ip -n {service} neigh replace 10.0.0.5 lladdr {} dev eth0", mac(11)));
        // Who may use another's address besides its own may not read the other's metadata under it.
        let pair = AddressPair { mac: mac(11), address: "10.0.0.5/32".parse().unwrap() };
        model.ports.get_mut(&b).unwrap().allowed_pairs = vec![pair];
        host.apply(&model).await;
        workloads[1].ip("addr add 10.0.0.5/24 dev eth0");
        workloads[1].ip("route replace 169.254.169.254/32 via 10.0.0.2 src 10.0.0.5");
        assert!(!service_connects(&workloads[1], DENIAL));
        workloads[1].ip("route replace 169.254.169.254/32 via 10.0.0.2 src 10.0.0.6");
        assert!(service_connects(&workloads[1], PATIENCE));
        model.ports.get_mut(&b).unwrap().allowed_pairs.clear();

        // Without port security the guest may use any address, but not to read another's metadata.
        model.ports.get_mut(&b).unwrap().port_security = false;
        host.apply(&model).await;
        let [_, b, _] = &workloads;
        assert!(b.metadata("/latest/user-data").is_some());
        b.ip("addr flush dev eth0");
        b.ip("addr add 10.0.0.5/24 dev eth0");
        b.ip("route add 169.254.169.254/32 via 10.0.0.2");
        assert!(!service_connects(b, DENIAL));

        // A guest that is gone is not served any more.
        model.ports.remove(&a);
        host.apply(&model).await;
        assert!(workloads[2].metadata("/latest/user-data").is_some());
    });
}
