//! Port groups: what is allowed passes, its answers pass, and all else is dropped, from the next packet on.

use std::net::UdpSocket;
use std::time::Duration;

use hanse_node::documents::{Remote, RuleDirection};
use hanse_sdn::Model;

use crate::host::on_host;
use crate::model::{TCP, egress, group, id, ingress, network, port, rule};
use crate::workload::{DENIAL, PATIENCE};

#[test]
fn rules_decide_who_reaches_what_and_take_effect_on_running_connections() {
    on_host(|host| async move {
        let mut model = Model::default();
        let lan = network(&mut model, 1, "10.0.0");
        let web = group(&mut model, 8, vec![egress(), ingress(Some(TCP), Some(80))]);
        let client = group(&mut model, 9, vec![egress()]);
        let a = port(&mut model, 10, lan, "10.0.0.5", &[web]);
        let b = port(&mut model, 11, lan, "10.0.0.6", &[client]);
        let c = port(&mut model, 12, lan, "10.0.0.7", &[]);
        let [a, b, c] = host.start(&model, [a, b, c]).await;
        let servers = (a.serve(80), a.serve(81), b.serve(80));

        assert!(b.reaches("10.0.0.5", 80).is_some(), "the allowed port, and its answer");
        assert!(b.is_denied("10.0.0.5", 81), "another port");
        assert!(a.is_denied("10.0.0.6", 80), "a group without ingress rules");
        assert!(c.is_denied("10.0.0.5", 80), "a port without egress rules");
        assert!(b.ping_fails("10.0.0.5"), "another protocol");

        // Ping in, by ICMP type.
        let mut ping = ingress(Some(1), Some(8));
        ping.port_max = Some(0);
        // Port 81 for members of the client group alone.
        let members = rule(RuleDirection::Ingress, Some(TCP), Some(81), Remote::Group(client));
        model.port_groups.get_mut(&web).unwrap().rules.extend([ping, members]);
        let senders = group(&mut model, 7, vec![egress()]);
        model.ports.get_mut(&id(12)).unwrap().groups = vec![senders];
        host.apply(&model).await;
        assert!(b.pings("10.0.0.5"));
        assert!(b.reaches("10.0.0.5", 81).is_some(), "a member of the remote group");
        assert!(c.is_denied("10.0.0.5", 81), "no member of the remote group");
        assert!(c.reaches("10.0.0.5", 80).is_some());

        // What is taken away ends, what is left goes on; what is given back goes on again.
        let mut by_rule = b.connects("10.0.0.5", 80);
        let mut by_membership = b.connects("10.0.0.5", 81);
        assert!(by_rule.echoes() && by_membership.echoes());
        model.ports.get_mut(&id(11)).unwrap().groups = vec![senders];
        host.apply(&model).await;
        assert!(!by_membership.echoes(), "a connection that the lost membership allowed");
        assert!(by_rule.echoes());
        let (asking, answering) = (b.udp(9998), a.udp(9999));
        let mut buffer = [0; 16];
        let mut asked = |asking: &UdpSocket, limit: Duration| {
            asking.send_to(b"?", "10.0.0.5:9999").unwrap();
            answering.set_read_timeout(Some(limit)).unwrap();
            answering.recv_from(&mut buffer).is_ok()
        };
        let answered = |limit: Duration| {
            answering.send_to(b"!", "10.0.0.6:9998").unwrap();
            asking.set_read_timeout(Some(limit)).unwrap();
            asking.recv_from(&mut [0; 16]).is_ok()
        };
        model.port_groups.get_mut(&web).unwrap().rules.push(ingress(Some(17), Some(9999)));
        host.apply(&model).await;
        assert!(asked(&asking, PATIENCE) && answered(PATIENCE));
        let rules = std::mem::take(&mut model.port_groups.get_mut(&web).unwrap().rules);
        model.port_groups.get_mut(&web).unwrap().rules = vec![egress()];
        host.apply(&model).await;
        assert!(!by_rule.echoes(), "a connection that the removed rule allowed");
        assert!(!asked(&asking, DENIAL), "a question that the removed rule allowed");
        assert!(!answered(DENIAL), "answers to it, though the answering side may send anything");
        model.port_groups.get_mut(&web).unwrap().rules = rules;
        host.apply(&model).await;
        assert!(b.reaches("10.0.0.5", 80).is_some());
        assert!(asked(&asking, PATIENCE) && answered(PATIENCE));

        // Without port security there are no rules.
        model.ports.get_mut(&id(10)).unwrap().port_security = false;
        host.apply(&model).await;
        assert!(c.reaches("10.0.0.5", 81).is_some());
        drop(servers);
    });
}
