//! What `deploy/` promises: its configurations load, its ports, users and times agree with the program.

use std::path::Path;

use mongo_observer::config::Config;
use saphyr::{LoadableYamlNode as _, Yaml};
use tempfile::TempDir;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Hands the documents of a YAML file to `look`.
fn with_documents<T>(path: &str, look: impl FnOnce(&[Yaml<'_>]) -> T) -> T {
    let text = text(path);
    look(&Yaml::load_from_str(&text).unwrap())
}

/// Loads a configuration that stands inside another file, with a secret where it looks for one. The secret stays while the folder does.
fn load(toml: &str) -> (Config, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("uri");
    std::fs::write(&secret, "mongodb://user:password@mongodb-0,mongodb-1/?replicaSet=rs0").unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, toml.replace("/run/secrets/mongo-observer/uri", secret.to_str().unwrap())).unwrap();
    (Config::load(Some(&file), [], &[]).unwrap(), dir)
}

/// The port behind the last colon.
fn port(address: &str) -> i64 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn the_configuration_of_compose_loads_and_its_ports_agree() {
    with_documents("deploy/compose.yaml", |documents| {
        let compose = &documents[0];
        let (config, _) = load(compose["configs"]["mongo-observer"]["content"].as_str().unwrap());
        assert_eq!(config.sinks.len(), 2);
        let service = &compose["services"]["mongo-observer"];
        let published = service["ports"][0].as_str().unwrap();
        assert_eq!(port(published), port(&config.http.listen));
        assert!(config.http.listen.starts_with("0.0.0.0:"), "reachable from outside the container");
        assert_eq!(service["build"]["dockerfile"].as_str(), Some("deploy/Dockerfile"));
        assert_eq!(service["configs"][0]["target"].as_str(), Some("/etc/mongo-observer/config.toml"));
        let grace: u64 =
            service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        assert!(grace > config.pipeline.grace().as_secs());
        // What it connects to is there, under that name.
        for host in ["mongodb", "kafka", "nats"] {
            assert!(compose["services"][host].is_mapping(), "{host}");
            assert_eq!(service["depends_on"][host]["condition"].as_str(), Some("service_healthy"), "{host}");
            assert!(compose["services"][host]["healthcheck"].is_mapping(), "{host}");
        }
        with_documents("deploy/prometheus.yml", |documents| {
            let target = documents[0]["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str();
            assert_eq!(target, Some(format!("mongo-observer:{}", port(published)).as_str()));
        });
    });
}

#[test]
fn the_configuration_of_kubernetes_loads_and_its_pod_agrees() {
    with_documents("deploy/kubernetes.yaml", |documents| {
        let [map, deployment] = documents else { panic!("two documents") };
        let (config, _secret) = load(map["data"]["config.toml"].as_str().unwrap());
        assert!(config.mongodb.uri().unwrap().expose().contains("mongodb-0"), "read from the secret");

        let spec = &deployment["spec"];
        assert_eq!(spec["replicas"].as_integer(), Some(1));
        assert_eq!(spec["strategy"]["type"].as_str(), Some("Recreate"));
        let pod = &spec["template"]["spec"];
        let grace = u64::try_from(pod["terminationGracePeriodSeconds"].as_integer().unwrap()).unwrap();
        assert!(grace > config.pipeline.grace().as_secs());
        let container = &pod["containers"][0];
        let listened = port(&config.http.listen);
        assert_eq!(container["ports"][0]["containerPort"].as_integer(), Some(listened));
        let scraped = spec["template"]["metadata"]["annotations"]["prometheus.io/port"].as_str();
        assert_eq!(scraped, Some(listened.to_string().as_str()));
        let probes = [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")];
        for (probe, path) in probes {
            assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path), "{probe}");
            assert_eq!(container[probe]["httpGet"]["port"].as_str(), container["ports"][0]["name"].as_str());
        }
        // Whatever is mounted is a volume, and a volume's source is in this file or is the secret.
        let name = map["metadata"]["name"].as_str();
        assert_eq!(pod["volumes"][0]["configMap"]["name"].as_str(), name);
        for (mount, volume) in [(0, 0), (1, 1)] {
            let mounted = container["volumeMounts"][mount]["name"].as_str();
            assert_eq!(mounted, pod["volumes"][volume]["name"].as_str());
        }
        let user = pod["securityContext"]["runAsUser"].as_integer().unwrap();
        assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
        let dockerfile = text("deploy/Dockerfile");
        assert!(dockerfile.lines().any(|line| line == format!("USER {user}:{user}")));
        assert!(dockerfile.lines().any(|line| line == format!("EXPOSE {listened}")));
    });
}

#[test]
fn the_image_is_built_of_what_is_sent_to_the_builder() {
    let sent = text("deploy/Dockerfile.dockerignore");
    let dockerfile = text("deploy/Dockerfile");
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let (_, sources) = line.split_once(' ').unwrap();
        let (sources, _) = sources.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(sent.lines().any(|kept| kept == format!("!{source}")), "{source} is left out");
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(source).exists(), "{source}");
        }
    }
    let version = env!("CARGO_PKG_RUST_VERSION");
    let used = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST=")).unwrap();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(minor(used) >= minor(version), "{used} is older than {version}");
}
