//! One call at least of each operation, with what it needs to be there.

use serde_json::json;

use super::Session;

pub fn system(s: &mut Session) {
    s.get("/_ping", "/_ping");
    s.call("HEAD /_ping", "/_ping", None, 200);
    s.get("/info", "/info");
    s.get("/version", "/version");
    s.get("/system/df", "/system/df");
    s.get("/system/df", "/system/df?verbose=true");
    s.get("/events", "/events?since=0&until=1");
    s.get("/plugins", "/plugins");
    let account = json!({ "username": "u", "password": "p", "serveraddress": "127.0.0.1:5000" });
    s.call("POST /auth", "/auth", Some(account), 200);
}

pub fn images(s: &mut Session) {
    let create = "POST /images/create";
    s.call(
        create,
        "/images/create?fromImage=busybox&tag=latest",
        None,
        200,
    );
    s.get("/images/json", "/images/json?all=1");
    s.get(
        "/images/json",
        "/images/json?digests=1&manifests=1&shared-size=1",
    );
    s.get("/images/{name}/json", "/images/busybox/json");
    s.get("/images/{name}/json", "/images/busybox/json?manifests=1");
    s.get("/images/{name}/history", "/images/busybox/history");
    s.get(
        "/images/{name}/attestations",
        "/images/busybox/attestations",
    );
    s.get("/distribution/{name}/json", "/distribution/busybox/json");
    s.call(
        "POST /images/{name}/tag",
        "/images/busybox/tag?repo=127.0.0.1:5000/library/again&tag=1",
        None,
        201,
    );
    s.curl(
        "POST /images/{name}/push",
        "/images/127.0.0.1:5000/library/again/push?tag=1",
        "-H 'X-Registry-Auth: e30='",
        200,
    );
    s.get("/images/{name}/get", "/images/busybox/get");
    s.get(
        "/images/get",
        "/images/get?names=busybox&names=127.0.0.1:5000/library/again:1",
    );
    s.host.sh("docker save busybox -o image.tar").ok();
    s.curl(
        "POST /images/load",
        "/images/load?quiet=1",
        "-H 'Content-Type: application/x-tar' --data-binary @image.tar",
        200,
    );
}

pub fn containers(s: &mut Session) {
    let box_ = json!({
        "Image": "busybox",
        "Tty": true,
        "Cmd": ["sh", "-c", "echo hello; touch /made; exec sleep 10000"],
        "Labels": { "a": "b" },
        "Env": ["A=b"],
        "ExposedPorts": { "80/tcp": {} },
        "Volumes": { "/anonymous": {} },
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000 },
        "HostConfig": {
            "Binds": ["named:/named", "/tmp:/host:ro"],
            "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] },
            "Memory": 64 << 20,
            "CapAdd": ["NET_ADMIN"],
            "Ulimits": [{ "Name": "nofile", "Soft": 64, "Hard": 64 }],
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 2 },
            "Tmpfs": { "/scratch": "size=1m" },
        },
    });
    s.call(
        "POST /containers/create",
        "/containers/create?name=box",
        Some(box_),
        201,
    );
    let start = "POST /containers/{id}/start";
    s.call(start, "/containers/box/start", None, 204);
    s.call(start, "/containers/box/start", None, 304);
    s.get("/containers/json", "/containers/json?all=1&size=1");
    s.get("/containers/{id}/json", "/containers/box/json");
    s.get("/containers/{id}/json", "/containers/box/json?size=1");
    s.get("/containers/{id}/top", "/containers/box/top");
    s.get(
        "/containers/{id}/logs",
        "/containers/box/logs?stdout=1&timestamps=1",
    );
    s.get("/containers/{id}/changes", "/containers/box/changes");
    s.get(
        "/containers/{id}/stats",
        "/containers/box/stats?stream=false",
    );
    s.get("/containers/{id}/export", "/containers/box/export");
    s.call(
        "POST /containers/{id}/resize",
        "/containers/box/resize?h=10&w=20",
        None,
        200,
    );
    s.call(
        "POST /containers/{id}/pause",
        "/containers/box/pause",
        None,
        204,
    );
    s.call(
        "POST /containers/{id}/unpause",
        "/containers/box/unpause",
        None,
        204,
    );
    let less = json!({ "Memory": 32 << 20, "RestartPolicy": { "Name": "no" } });
    s.call(
        "POST /containers/{id}/update",
        "/containers/box/update",
        Some(less),
        200,
    );
    s.call(
        "POST /containers/{id}/rename",
        "/containers/box/rename?name=crate",
        None,
        204,
    );
    s.call(
        "POST /containers/{id}/rename",
        "/containers/crate/rename?name=box",
        None,
        204,
    );
    s.call(
        "HEAD /containers/{id}/archive",
        "/containers/box/archive?path=/etc",
        None,
        200,
    );
    s.get(
        "/containers/{id}/archive",
        "/containers/box/archive?path=/etc/passwd",
    );
    s.host.sh("echo x > x && tar cf files.tar x").ok();
    s.curl(
        "PUT /containers/{id}/archive",
        "/containers/box/archive?path=/tmp",
        "-H 'Content-Type: application/x-tar' --data-binary @files.tar",
        200,
    );
    s.call(
        "POST /commit",
        "/commit?container=box&repo=made&comment=c&author=a&pause=0",
        Some(json!({ "Cmd": ["true"] })),
        201,
    );
    s.call(
        "POST /containers/{id}/kill",
        "/containers/box/kill?signal=WINCH",
        None,
        204,
    );
    s.call(
        "POST /containers/{id}/restart",
        "/containers/box/restart?t=0",
        None,
        204,
    );
    s.call(
        "POST /containers/{id}/stop",
        "/containers/box/stop?t=0",
        None,
        204,
    );
    s.call(
        "POST /containers/{id}/stop",
        "/containers/box/stop?t=0",
        None,
        304,
    );
    s.call(
        "POST /containers/{id}/wait",
        "/containers/box/wait",
        None,
        200,
    );
    s.get("/containers/{id}/json", "/containers/box/json");
    s.get("/containers/json", "/containers/json?all=1");
    s.call(
        "POST /containers/{id}/attach",
        "/containers/box/attach?logs=1&stdout=1",
        None,
        200,
    );
    s.curl(
        "GET /containers/{id}/attach/ws",
        "/containers/box/attach/ws?logs=1&stdout=1",
        "--http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='",
        101,
    );
    s.get("/system/df", "/system/df");
}

pub fn execs(s: &mut Session) {
    s.call(
        "POST /containers/{id}/start",
        "/containers/box/start",
        None,
        204,
    );
    let wanted =
        json!({ "Cmd": ["sleep", "10000"], "AttachStdout": true, "Tty": true, "Env": ["A=b"] });
    let create = "POST /containers/{id}/exec";
    let made = s.call(create, "/containers/box/exec", Some(wanted), 201);
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    s.get("/exec/{id}/json", &format!("/exec/{id}/json"));
    let detached = json!({ "Detach": true });
    let start = "POST /exec/{id}/start";
    s.call(start, &format!("/exec/{id}/start"), Some(detached), 200);
    s.get("/exec/{id}/json", &format!("/exec/{id}/json"));
    let resize = "POST /exec/{id}/resize";
    s.call(resize, &format!("/exec/{id}/resize?h=10&w=20"), None, 200);
    s.get("/containers/{id}/json", "/containers/box/json");
}

pub fn volumes_and_networks(s: &mut Session) {
    let volume = json!({ "Name": "vol", "Labels": { "a": "b" } });
    s.call("POST /volumes/create", "/volumes/create", Some(volume), 201);
    s.get("/volumes", "/volumes");
    s.get("/volumes/{name}", "/volumes/vol");
    // Volumes of a cluster alone are updated.
    let update = Some(json!({}));
    s.call("PUT /volumes/{name}", "/volumes/vol?version=1", update, 503);
    s.get("/networks", "/networks");
    s.get("/networks/{id}", "/networks/bridge");
    s.get("/networks/{id}", "/networks/host");
    if s.has("POST /build/prune") {
        // The oldest description does not have that answer.
        s.call("DELETE /networks/{id}", "/networks/host", None, 403);
    }
    s.call("DELETE /networks/{id}", "/networks/nosuch", None, 404);
    let (create, path) = ("POST /networks/create", "/networks/create");
    let wanted = json!({
        "Name": "net", "Labels": { "a": "b" }, "Options": { "com.docker.network.driver.mtu": "1400" },
        "IPAM": { "Config": [{ "Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9" }] },
    });
    s.call(create, path, Some(wanted), 201);
    let on = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL",
        "HostConfig": { "NetworkMode": "net" },
        "NetworkingConfig": { "EndpointsConfig": { "net": { "Aliases": ["web"] } } } });
    let one = ("POST /containers/create", "/containers/create?name=onnet");
    s.call(one.0, one.1, Some(on), 201);
    let start = "POST /containers/{id}/start";
    s.call(start, "/containers/onnet/start", None, 204);
    let second = json!({ "Name": "second" });
    s.call(create, path, Some(second), 201);
    let connect = "POST /networks/{id}/connect";
    let body = json!({ "Container": "onnet", "EndpointConfig": { "Aliases": ["other"] } });
    s.call(connect, "/networks/second/connect", Some(body), 200);
    s.get("/networks/{id}", "/networks/net");
    s.get("/networks", "/networks");
    s.get("/containers/{id}/json", "/containers/onnet/json");
    s.get("/containers/json", "/containers/json");
    if s.has("POST /build/prune") {
        s.call("DELETE /networks/{id}", "/networks/net", None, 403);
    }
    let disconnect = "POST /networks/{id}/disconnect";
    let body = Some(json!({ "Container": "onnet" }));
    s.call(disconnect, "/networks/second/disconnect", body, 200);
    s.call("DELETE /networks/{id}", "/networks/second", None, 204);
    let remove = "DELETE /containers/{id}";
    s.call(remove, "/containers/onnet?force=1", None, 204);
    s.call("POST /networks/prune", "/networks/prune", None, 200);
    s.call("POST /build/prune", "/build/prune", None, 200);
}

/// Each operation on one object, where there is none: 404 with a message, where the description has that.
pub fn not_there(s: &mut Session) {
    let of_one: Vec<String> = s
        .description
        .operations()
        .iter()
        .filter(|(name, operation)| {
            operation.may_answer(404)
                && ["Container", "Image", "Volume", "Exec"].contains(&operation.tag.as_str())
                && (name.contains("{id}") || name.contains("{name}"))
        })
        .map(|(name, _)| name.clone())
        // Before the container, the handshake is looked at.
        .filter(|name| !name.ends_with("/ws"))
        // Before the volume, the lack of a cluster.
        .filter(|name| name != "PUT /volumes/{name}")
        .filter(|name| !super::NOT_YET.contains(&name.as_str()))
        .collect();
    for name in of_one {
        let (_, path) = name.split_once(' ').unwrap_or_default();
        let path = path.replace("{id}", "nosuch").replace("{name}", "nosuch");
        let query = match name.rsplit('/').next().unwrap_or_default() {
            "archive" => "?path=/etc",
            "resize" => "?h=1&w=1",
            "rename" => "?name=other",
            "tag" => "?repo=other&tag=1",
            "attach" | "logs" => "?stdout=1&stream=1",
            _ => "",
        };
        let body = match name.as_str() {
            "POST /containers/{id}/exec" => Some(json!({ "Cmd": ["true"] })),
            "POST /containers/{id}/update" | "POST /exec/{id}/start" => Some(json!({})),
            _ => None,
        };
        s.call(&name, &format!("{path}{query}"), body, 404);
    }
    s.call(
        "POST /containers/create",
        "/containers/create",
        Some(json!({ "Image": "nosuch" })),
        404,
    );
    s.call(
        "POST /containers/create",
        "/containers/create?name=box",
        Some(json!({ "Image": "busybox" })),
        409,
    );
    s.call(
        "POST /containers/create",
        "/containers/create",
        Some(json!({ "Image": "busybox", "HostConfig": { "PidMode": "x" } })),
        400,
    );
    s.call(
        "GET /containers/json",
        "/containers/json?filters=x",
        None,
        400,
    );
}

pub fn removals(s: &mut Session) {
    s.call(
        "DELETE /containers/{id}",
        "/containers/box?force=1&v=1",
        None,
        204,
    );
    s.call("POST /containers/prune", "/containers/prune", None, 200);
    s.call("DELETE /volumes/{name}", "/volumes/vol", None, 204);
    s.call("POST /volumes/prune", "/volumes/prune", None, 200);
    s.call("DELETE /images/{name}", "/images/made", None, 200);
    s.call("POST /images/prune", "/images/prune", None, 200);
}
