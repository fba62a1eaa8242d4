"""What one project does in a cloud that it shares. Prints JSON.

tenant.py build PLAN    makes a network, a router, guests with floating IPs and a volume; prints their ids
tenant.py look          prints what the project has, without what changes by itself
tenant.py pry IDS       tries to see, change and use objects of another project (what `build` printed there)
"""
import json, sys
import openstack

cloud = openstack.connect()


def build(plan):
    name, cidr = plan["name"], plan["cidr"]
    made = {"project": cloud.current_project_id, "cidr": cidr, "servers": {}, "ports": {}, "floating_ips": {}}
    image = cloud.create_image(
        name, filename=plan["image"], disk_format="qcow2", container_format="bare", wait=True
    )
    cloud.compute.create_keypair(name=name, public_key=plan["public_key"])
    public = cloud.network.find_network("public")
    network = cloud.network.create_network(name=name)
    subnet = cloud.network.create_subnet(network_id=network.id, name=name, ip_version=4, cidr=cidr)
    router = cloud.network.create_router(name=name, external_gateway_info={"network_id": public.id})
    cloud.network.add_interface_to_router(router, subnet_id=subnet.id)
    group = next(iter(cloud.network.security_groups(name="default")))
    rules = [
        cloud.network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            ethertype="IPv4",
            protocol=protocol,
            port_range_min=port,
            port_range_max=port,
        )
        for protocol, port in plan["allow"]
    ]
    flavor = cloud.compute.find_flavor("tiny")
    for guest, (address, mac) in plan["guests"].items():
        port = cloud.network.create_port(
            network_id=network.id,
            mac_address=mac,
            fixed_ips=[{"subnet_id": subnet.id, "ip_address": address}],
        )
        server = cloud.compute.create_server(
            name=guest, image_id=image.id, flavor_id=flavor.id, key_name=name, networks=[{"port": port.id}]
        )
        floating = cloud.network.create_ip(floating_network_id=public.id, port_id=port.id)
        made["ports"][guest], made["servers"][guest] = port.id, server.id
        made["floating_ips"][guest] = {"id": floating.id, "address": floating.floating_ip_address}
    volume = cloud.block_storage.create_volume(name=name, size=1)
    cloud.block_storage.wait_for_status(volume, status="available", wait=120)
    for server in made["servers"].values():
        cloud.compute.wait_for_server(cloud.compute.get_server(server), wait=300)
    made.update(
        name=name,
        image=image.id,
        network=network.id,
        subnet=subnet.id,
        router=router.id,
        group=group.id,
        rules=[rule.id for rule in rules],
        volume=volume.id,
    )
    return made


LISTS = [
    ("compute", "/servers/detail"),
    ("compute", "/os-keypairs"),
    ("network", "/networks"),
    ("network", "/subnets"),
    ("network", "/ports"),
    ("network", "/routers"),
    ("network", "/floatingips"),
    ("network", "/security-groups"),
    ("network", "/security-group-rules"),
    ("image", "/images"),
    ("block_storage", "/volumes/detail"),
]


def call(method, service, path, body=None):
    headers = {}
    if method == "PATCH":
        headers["Content-Type"] = "application/openstack-images-v2.1-json-patch"
    return getattr(cloud, service).request(path, method, json=body, headers=headers)


def look():
    seen = {}
    for service, path in LISTS:
        answer = call("GET", service, path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        seen[path] = json.dumps(answer.json(), sort_keys=True)
    return seen


def addresses(theirs):
    """Every path that shows or changes one of their objects, with a body that would be accepted of its owner."""
    server, port = theirs["servers"]["one"], theirs["ports"]["one"]
    floating, rule = theirs["floating_ips"]["one"]["id"], theirs["rules"][0]
    compute = f"/servers/{server}"
    one = lambda kind: {kind: {"name": "mine"}}
    for path in ["", "/ips", "/metadata", "/os-interface", "/os-security-groups", "/os-volume_attachments"]:
        yield "GET", "compute", compute + path, None
    yield "GET", "compute", f"{compute}/os-instance-actions", None
    yield "GET", "compute", f"{compute}/os-interface/{port}", None
    yield "GET", "compute", f"/os-keypairs/{theirs['name']}", None
    yield "PUT", "compute", compute, one("server")
    yield "POST", "compute", f"{compute}/metadata", {"metadata": {"a": "b"}}
    for action in [
        {"os-stop": None},
        {"reboot": {"type": "HARD"}},
        {"os-getConsoleOutput": {"length": 10}},
        {"addSecurityGroup": {"name": "default"}},
        {"removeSecurityGroup": {"name": "default"}},
    ]:
        yield "POST", "compute", f"{compute}/action", action
    attachment = {"volumeAttachment": {"volumeId": theirs["volume"]}}
    yield "POST", "compute", f"{compute}/os-volume_attachments", attachment
    for path, kind in [
        (f"/networks/{theirs['network']}", "network"),
        (f"/subnets/{theirs['subnet']}", "subnet"),
        (f"/ports/{port}", "port"),
        (f"/routers/{theirs['router']}", "router"),
        (f"/security-groups/{theirs['group']}", "security_group"),
    ]:
        yield "GET", "network", path, None
        yield "PUT", "network", path, one(kind)
        yield "DELETE", "network", path, None
    yield "PUT", "network", f"/ports/{port}", {"port": {"port_security_enabled": False, "security_groups": []}}
    subnet = {"subnet_id": theirs["subnet"]}
    yield "PUT", "network", f"/routers/{theirs['router']}/remove_router_interface", subnet
    yield "GET", "network", f"/floatingips/{floating}", None
    yield "PUT", "network", f"/floatingips/{floating}", {"floatingip": {"port_id": None}}
    yield "DELETE", "network", f"/floatingips/{floating}", None
    yield "GET", "network", f"/security-group-rules/{rule}", None
    yield "DELETE", "network", f"/security-group-rules/{rule}", None
    image = f"/images/{theirs['image']}"
    yield "GET", "image", image, None
    yield "GET", "image", f"{image}/file", None
    yield "PATCH", "image", image, [{"op": "replace", "path": "/name", "value": "mine"}]
    yield "DELETE", "image", image, None
    volume = f"/volumes/{theirs['volume']}"
    yield "GET", "block_storage", volume, None
    yield "PUT", "block_storage", volume, one("volume")
    yield "POST", "block_storage", f"{volume}/action", {"os-extend": {"new_size": 2}}
    yield "DELETE", "block_storage", volume, None
    yield "DELETE", "compute", compute, None


def references(theirs, mine):
    """Own objects that would be made of, or put beside, one of theirs."""
    port, group = theirs["ports"]["one"], theirs["group"]
    server = lambda **more: {"server": {"name": "x", "flavorRef": mine["flavor"], **more}}
    rule = lambda **more: {"security_group_rule": {"direction": "ingress", "protocol": "tcp", **more}}
    networks = lambda **more: server(imageRef=mine["image"], networks=[more])
    yield "POST", "compute", "/servers", server(imageRef=theirs["image"], networks=[{"uuid": mine["network"]}])
    yield "POST", "compute", "/servers", networks(uuid=theirs["network"])
    yield "POST", "compute", "/servers", networks(port=port)
    attachment = {"volumeAttachment": {"volumeId": theirs["volume"]}}
    yield "POST", "compute", f"/servers/{mine['server']}/os-volume_attachments", attachment
    yield "POST", "network", "/ports", {"port": {"network_id": theirs["network"]}}
    yield "POST", "network", "/ports", {"port": {"network_id": mine["network"], "security_groups": [group]}}
    yield "PUT", "network", f"/ports/{mine['port']}", {"port": {"security_groups": [group]}}
    cidr = {"network_id": theirs["network"], "ip_version": 4, "cidr": "10.8.0.0/24"}
    yield "POST", "network", "/subnets", {"subnet": cidr}
    router = f"/routers/{mine['router']}/add_router_interface"
    yield "PUT", "network", router, {"subnet_id": theirs["subnet"]}
    yield "PUT", "network", router, {"port_id": port}
    gateway = {"router": {"external_gateway_info": {"network_id": theirs["network"]}}}
    yield "PUT", "network", f"/routers/{mine['router']}", gateway
    yield "PUT", "network", f"/floatingips/{mine['floating_ip']}", {"floatingip": {"port_id": port}}
    yield "POST", "network", "/security-group-rules", rule(security_group_id=group)
    yield "POST", "network", "/security-group-rules", rule(
        security_group_id=mine["group"], remote_group_id=group
    )


def strings(value):
    if isinstance(value, dict):
        value = [inner for key, inner in value.items() if key not in ("address", "cidr", "name")]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value]


def pry(given):
    theirs, own = given["theirs"], given["mine"]
    guest = next(iter(own["servers"]))
    mine = {
        **own,
        "server": own["servers"][guest],
        "port": own["ports"][guest],
        "floating_ip": own["floating_ips"][guest]["id"],
        "flavor": cloud.compute.find_flavor("tiny").id,
    }
    seen, found = [], []
    for service, path in LISTS:
        for query in ["", f"?project_id={theirs['project']}", f"?owner={theirs['project']}", "?all_tenants=1"]:
            answer = call("GET", service, path + query)
            # A filter that the service does not know, or that is not for members, is refused.
            if answer.status_code != 200 and query:
                assert answer.status_code in (400, 403), f"{path}{query}: {answer.text}"
                continue
            seen.append([path + query, answer.status_code])
            # Links to pages repeat what was asked for.
            objects = [value for key, value in answer.json().items() if not key.endswith("_links")]
            text = json.dumps([value for value in objects if isinstance(value, list)])
            found += [[path + query, secret] for secret in strings(theirs) if secret in text]
    status = lambda all: [[m, p, json.dumps(b), call(m, s, p, b).status_code] for m, s, p, b in all]
    return {
        "lists": seen,
        "found": found,
        "addressed": status(addresses(theirs)),
        "referred": status(references(theirs, mine)),
    }


verbs = {"build": build, "look": lambda _: look(), "pry": pry}
argument = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None
print(json.dumps(verbs[sys.argv[1]](argument)))
