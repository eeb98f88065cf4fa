//! Whether the documents of a manifest fit each other and the README, read from them alone.

use serde_json::Value;

use crate::exec::Result;

/// What the container is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) arguments: Vec<String>,
    /// The service of each probe; the empty name is the server as a whole.
    pub(super) probed: Vec<String>,
    /// What the README puts into secrets, by the paths that it names.
    pub(super) files: Vec<String>,
}

/// What a client's container is told.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) arguments: Vec<String>,
    /// What the README puts into its secrets.
    pub(super) files: Vec<String>,
}

/// Judges the manifest of a client of what `server` is.
pub(super) fn judge_client(documents: &[Value], server: &[Value], readme: &str) -> Result<Client> {
    let (service, deployment) = (only(server, "Service")?, only(server, "Deployment")?);
    let template = at(only(documents, "Job")?, "/spec/template")?;
    let (container, arguments) = container(template)?;
    let (_, served) = self::container(at(deployment, "/spec/template")?)?;
    let target =
        format!("dns:///{}:{}", text(service, "/metadata/name")?, port(&served, "--listen")?);
    same("the client's target", flag(&arguments, "--target")?, &target)?;
    let image = text(deployment, "/spec/template/spec/containers/0/image")?;
    same("the client's image", &text(container, "/image")?, &image)?;
    // A Job takes no other than these two.
    if !["Never", "OnFailure"].contains(&&*text(template, "/spec/restartPolicy")?) {
        return Err("the client is started again when it is done".to_owned());
    }
    let files = files(documents, template, container, &arguments, readme)?;
    Ok(Client { arguments, files })
}

/// The container of a pod, and its arguments.
fn container(template: &Value) -> Result<(&Value, Vec<String>)> {
    let containers = list(template, "/spec/containers");
    let [container] = containers else {
        return Err(format!("{} containers, not one", containers.len()));
    };
    let arguments = list(container, "/args").iter().map(|argument| text(argument, ""));
    Ok((container, arguments.collect::<Result<_>>()?))
}

/// An old pod goes only behind a new one, which clients have heard of.
fn is_rolled_out_slowly(deployment: &Value) -> Result {
    let unavailable = at(deployment, "/spec/strategy/rollingUpdate/maxUnavailable")?;
    same("maxUnavailable", &unavailable.to_string(), "0")?;
    let ready = at(deployment, "/spec/minReadySeconds")?.as_u64();
    match ready {
        Some(seconds) if seconds > NAMES_EVERY_SECONDS => Ok(()),
        _ => Err(format!("minReadySeconds {ready:?}: clients ask at most each 30 s")),
    }
}

/// How often a channel asks for a name at most.
const NAMES_EVERY_SECONDS: u64 = 30;

/// Judges all of it.
pub(super) fn judge(documents: &[Value], readme: &str) -> Result<Told> {
    let (service, deployment) = (only(documents, "Service")?, only(documents, "Deployment")?);
    let template = at(deployment, "/spec/template")?;
    let (container, arguments) = container(template)?;
    selects(service, "/spec/selector", template)?;
    selects(deployment, "/spec/selector/matchLabels", template)?;
    leads_to_pods(service, container, &arguments, readme)?;
    is_rolled_out_slowly(deployment)?;
    let metrics = text(template, "/metadata/annotations/prometheus.io~1port")?;
    same("the port for metrics", &metrics, &port(&arguments, "--metrics")?.to_string())?;
    let image = text(container, "/image")?;
    if !readme.contains(&format!(" -t {image} ")) {
        return Err(format!("the README does not build {image}"));
    }
    let grace = flag(&arguments, "--grace")?;
    let grace: f64 = grace.parse().map_err(|error| format!("--grace={grace}: {error}"))?;
    let patience = at(template, "/spec/terminationGracePeriodSeconds")?.as_f64();
    if patience.is_none_or(|patience| patience <= grace) {
        return Err(format!("Kubernetes waits {patience:?} s for a drain of {grace} s"));
    }
    let probed = probes(container, port(&arguments, "--probes")?)?;
    let files = files(documents, template, container, &arguments, readme)?;
    Ok(Told { arguments, probed, files })
}

/// The only document of this kind.
fn only<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut of_kind = documents.iter().filter(|document| document["kind"] == kind);
    match (of_kind.next(), of_kind.next()) {
        (Some(document), None) => Ok(document),
        _ => Err(format!("not one {kind}")),
    }
}

fn at<'a>(value: &'a Value, place: &str) -> Result<&'a Value> {
    value.pointer(place).ok_or_else(|| format!("no {place}"))
}

fn text(value: &Value, place: &str) -> Result<String> {
    let found = at(value, place)?;
    found.as_str().map(str::to_owned).ok_or_else(|| format!("{place} is no text: {found}"))
}

/// Nothing where it is not there.
fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    value.pointer(place).and_then(Value::as_array).map_or(&[], |list| list)
}

fn same(what: &str, one: &str, other: &str) -> Result {
    if one == other { Ok(()) } else { Err(format!("{what} is {one}, and {other}")) }
}

/// `--NAME=` among the arguments.
fn flag<'a>(arguments: &'a [String], name: &str) -> Result<&'a str> {
    let value = |argument: &'a String| argument.strip_prefix(name)?.strip_prefix('=');
    arguments.iter().find_map(value).ok_or_else(|| format!("no {name}= in {arguments:?}"))
}

fn port(arguments: &[String], name: &str) -> Result<u64> {
    let address = flag(arguments, name)?;
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or_else(|| format!("no port in {name}={address}"))
}

/// Every label that is asked for is one of the pods'.
fn selects(whose: &Value, place: &str, template: &Value) -> Result {
    let labels = at(template, "/metadata/labels")?;
    let asked = at(whose, place)?.as_object().filter(|asked| !asked.is_empty());
    let asked = asked.ok_or_else(|| format!("{place} selects nothing"))?;
    match asked.iter().find(|(name, value)| labels.get(name) != Some(value)) {
        None => Ok(()),
        Some(missed) => Err(format!("{place} asks for {missed:?}, and pods have {labels}")),
    }
}

/// Its port is where the container takes calls, and its name leads to each pod by itself.
fn leads_to_pods(service: &Value, container: &Value, arguments: &[String], readme: &str) -> Result {
    same("clusterIP", &text(service, "/spec/clusterIP")?, "None")?;
    let (name, calls) = (text(service, "/metadata/name")?, port(arguments, "--listen")?);
    let ports = list(service, "/spec/ports");
    if ports.is_empty() {
        return Err("the Service has no port".to_owned());
    }
    for port in ports {
        let to = port.get("targetPort").unwrap_or(&port["port"]);
        let to = container_port(container, to)?;
        same("the port for calls", &to.to_string(), &calls.to_string())?;
        // A headless name leads to pods, whose port is the container's.
        same("a headless port", &port["port"].to_string(), &to.to_string())?;
        let target = format!("`dns:///{name}:{to}`");
        if !readme.contains(&target) {
            return Err(format!("the README does not call {target}"));
        }
    }
    Ok(())
}

/// The container's port of this number or name.
fn container_port(container: &Value, wanted: &Value) -> Result<u64> {
    let ports = list(container, "/ports").iter();
    let found =
        ports.into_iter().find(|port| port["containerPort"] == *wanted || port["name"] == *wanted);
    let number = found.and_then(|port| port["containerPort"].as_u64());
    number.ok_or_else(|| format!("the container has no port {wanted}"))
}

/// What probes ask for: by gRPC, at the port that speaks no TLS.
fn probes(container: &Value, health: u64) -> Result<Vec<String>> {
    let mut probed = Vec::new();
    for (name, is_needed) in
        [("readinessProbe", true), ("livenessProbe", true), ("startupProbe", false)]
    {
        let Some(probe) = container.get(name) else {
            if is_needed {
                return Err(format!("no {name}"));
            }
            continue;
        };
        let grpc = probe.get("grpc").ok_or_else(|| format!("{name} does not ask by gRPC"))?;
        // Of gRPC probes Kubernetes takes a number only.
        let port = grpc["port"].as_u64().ok_or_else(|| format!("{name} has no port"))?;
        same(name, &port.to_string(), &health.to_string())?;
        container_port(container, &grpc["port"])?;
        let service = grpc.get("service").and_then(Value::as_str).unwrap_or_default();
        probed.push(service.to_owned());
    }
    Ok(probed)
}

/// Whatever is mounted is there, and the program looks for its keys where they are; what the
/// README puts there.
fn files(
    documents: &[Value],
    template: &Value,
    container: &Value,
    arguments: &[String],
    readme: &str,
) -> Result<Vec<String>> {
    let volumes = list(template, "/spec/volumes");
    let mounts = list(container, "/volumeMounts");
    for mount in mounts {
        if !volumes.iter().any(|volume| volume["name"] == mount["name"]) {
            return Err(format!("no volume {} to mount", mount["name"]));
        }
    }
    let keys = flag(arguments, "--keys")?;
    if !mounts.iter().any(|mount| mount["mountPath"] == keys) {
        return Err(format!("nothing is mounted at {keys}, where the keys should be"));
    }
    let mut files = Vec::new();
    for volume in volumes {
        for (kind, place, made) in [
            ("Secret", "/secret/secretName", "kubectl create secret generic "),
            ("ConfigMap", "/configMap/name", "kubectl create configmap "),
        ] {
            let Some(name) = volume.pointer(place).and_then(Value::as_str) else { continue };
            let is_it = |document: &Value| {
                document["kind"] == kind && document.pointer("/metadata/name") == Some(&name.into())
            };
            if !documents.iter().any(is_it) {
                let command = command(readme, &format!("{made}{name} "))
                    .ok_or_else(|| format!("neither manifest nor README makes {kind} {name}"))?;
                let words = command.split_whitespace();
                let named = words.filter_map(|word| word.strip_prefix("--from-file="));
                files.extend(named.map(str::to_owned));
            }
        }
    }
    Ok(files)
}

/// A command of the README's, with the lines that go on.
fn command(readme: &str, start: &str) -> Option<String> {
    let rest = &readme[readme.find(start)?..];
    let joined = rest.replace("\\\n", " ");
    joined.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const README: &str = "$ docker build -t a:1 .\n\
         $ kubectl create secret generic s --from-file=k/x.pem \\\n    --from-file=k/y.json\n\
         $ kubectl apply -f a.yaml\nThe target is `dns:///a:1`.\n";

    fn manifest() -> Vec<Value> {
        let service = json!({
            "kind": "Service",
            "metadata": {"name": "a"},
            "spec": {"clusterIP": "None", "selector": {"app": "a"}, "ports": [{"port": 1}]},
        });
        let container = json!({
            "image": "a:1",
            "args": ["serve", "--listen=[::]:1", "--probes=[::]:2", "--metrics=[::]:3",
                "--keys=/k", "--grace=20"],
            "ports": [{"name": "grpc", "containerPort": 1}, {"containerPort": 2}],
            "readinessProbe": {"grpc": {"port": 2, "service": "a.A"}},
            "livenessProbe": {"grpc": {"port": 2}},
            "volumeMounts": [{"name": "v", "mountPath": "/k"}],
        });
        let template = json!({
            "metadata": {"labels": {"app": "a"}, "annotations": {"prometheus.io/port": "3"}},
            "spec": {
                "terminationGracePeriodSeconds": 30,
                "containers": [container],
                "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
            },
        });
        let selector = json!({"matchLabels": {"app": "a"}});
        let spec = json!({
            "selector": selector,
            "template": template,
            "minReadySeconds": 31,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        });
        vec![service, json!({"kind": "Deployment", "spec": spec})]
    }

    #[test]
    fn a_manifest_as_it_should_be() {
        let told = judge(&manifest(), README).unwrap();
        assert_eq!(told.arguments.len(), 6);
        assert_eq!(told.probed, ["a.A", ""]);
        assert_eq!(told.files, ["k/x.pem", "k/y.json"]);
    }

    #[test]
    fn a_port_may_be_a_name_and_a_secret_in_the_manifest() {
        let mut documents = manifest();
        documents[0]["spec"]["ports"][0]["targetPort"] = "grpc".into();
        documents.push(json!({"kind": "Secret", "metadata": {"name": "s"}}));
        assert!(judge(&documents, README).unwrap().files.is_empty());
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        const POD: &str = "/spec/template/spec";
        const CONTAINER: &str = "/spec/template/spec/containers/0";
        let wrong = [
            (0, "/kind".to_owned(), json!("ConfigMap")),
            (0, "/spec/clusterIP".to_owned(), json!("")),
            (0, "/spec/selector".to_owned(), json!({})),
            (0, "/spec/selector/app".to_owned(), json!("b")),
            (0, "/spec/ports".to_owned(), json!([])),
            (0, "/spec/ports/0/port".to_owned(), json!(2)),
            (0, "/spec/ports/0".to_owned(), json!({"port": 1, "targetPort": "http"})),
            (0, "/spec/ports/0".to_owned(), json!({"port": 80, "targetPort": 1})),
            (0, "/metadata/name".to_owned(), json!("b")),
            (1, "/spec/selector/matchLabels/app".to_owned(), json!("b")),
            (1, "/spec/template/metadata/annotations/prometheus.io~1port".to_owned(), json!("9")),
            (1, "/spec/minReadySeconds".to_owned(), json!(30)),
            (1, "/spec/strategy/rollingUpdate/maxUnavailable".to_owned(), json!(1)),
            (1, format!("{POD}/containers"), json!([])),
            (1, format!("{POD}/terminationGracePeriodSeconds"), json!(20)),
            (1, format!("{POD}/volumes/0/name"), json!("w")),
            (1, format!("{POD}/volumes/0/secret/secretName"), json!("t")),
            (1, format!("{POD}/volumes/0"), json!({"name": "v", "configMap": {"name": "s"}})),
            (1, format!("{CONTAINER}/volumeMounts/0/mountPath"), json!("/q")),
            (1, format!("{CONTAINER}/image"), json!("a:2")),
            (1, format!("{CONTAINER}/readinessProbe"), json!({"httpGet": {"port": 2}})),
            (1, format!("{CONTAINER}/readinessProbe/grpc/port"), json!(1)),
            (1, format!("{CONTAINER}/livenessProbe/grpc/port"), json!("grpc")),
            (1, format!("{CONTAINER}/livenessProbe/grpc/port"), json!(4)),
            (1, format!("{CONTAINER}/ports/1/containerPort"), json!(4)),
            (1, format!("{CONTAINER}/args/1"), json!("--listen=[::]:4")),
            (1, format!("{CONTAINER}/args/2"), json!("--probes=[::]:4")),
            (1, format!("{CONTAINER}/args/5"), json!("--grace=31")),
        ];
        for (document, place, value) in wrong {
            let mut documents = manifest();
            *documents[document].pointer_mut(&place).unwrap() = value.clone();
            assert!(judge(&documents, README).is_err(), "{place}: {value}");
        }
    }
    fn client() -> Vec<Value> {
        let container = json!({
            "image": "a:1",
            "args": ["call", "--target=dns:///a:1", "--keys=/k"],
            "volumeMounts": [{"name": "v", "mountPath": "/k"}],
        });
        let pod = json!({
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
        });
        vec![json!({"kind": "Job", "spec": {"template": {"spec": pod}}})]
    }

    #[test]
    fn a_client_calls_what_is_served() {
        let told = judge_client(&client(), &manifest(), README).unwrap();
        assert_eq!(told.arguments.len(), 3);
        assert_eq!(told.files, ["k/x.pem", "k/y.json"]);
        const POD: &str = "/spec/template/spec";
        for (place, value) in [
            ("/kind".to_owned(), json!("Pod")),
            (format!("{POD}/containers/0/args/1"), json!("--target=dns:///a:2")),
            (format!("{POD}/containers/0/args/2"), json!("--keys=/q")),
            (format!("{POD}/containers/0/image"), json!("a:2")),
            (format!("{POD}/restartPolicy"), json!("Always")),
            (format!("{POD}/volumes/0/secret/secretName"), json!("t")),
        ] {
            let mut documents = client();
            *documents[0].pointer_mut(&place).unwrap() = value.clone();
            assert!(judge_client(&documents, &manifest(), README).is_err(), "{place}: {value}");
        }
    }
}
