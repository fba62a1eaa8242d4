"""Creates servers at once, one thread each, and prints as JSON which calls were acknowledged.

A call is repeated until it is answered: the cloud's processes are killed meanwhile. Arguments: how many, image, flavor,
and optionally a network.
"""
import json, sys, threading, time
import openstack

count, image, flavor, network = int(sys.argv[1]), sys.argv[2], sys.argv[3], (sys.argv[4:] or [None])[0]
acknowledged, refused, lock = {}, [], threading.Lock()


def connect():
    # Every thread has a connection of its own; a token may have to be asked for again.
    for _ in range(120):
        try:
            cloud = openstack.connect()
            cloud.authorize()
            return cloud
        except Exception:
            time.sleep(0.5)
    raise SystemExit("nobody answers")


def create(number):
    cloud = connect()
    body = {"server": {"name": f"vm-{number}", "imageRef": ids["image"], "flavorRef": ids["flavor"]}}
    if network:
        body["server"]["networks"] = [{"uuid": ids["network"]}]
    for _ in range(240):
        try:
            answer = cloud.compute.post("/servers", json=body)
        except Exception:
            time.sleep(0.25)
            continue
        if answer.status_code == 202:
            with lock:
                acknowledged[answer.json()["server"]["id"]] = f"vm-{number}"
            return
        if answer.status_code < 500:
            with lock:
                refused.append(answer.text)
            return
        time.sleep(0.25)
    with lock:
        refused.append("never answered")


cloud = connect()
ids = {
    "image": cloud.image.find_image(image).id,
    "flavor": cloud.compute.find_flavor(flavor).id,
    "network": cloud.network.find_network(network).id if network else None,
}
print("ready", flush=True)
threads = [threading.Thread(target=create, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"acknowledged": acknowledged, "refused": refused}))
