//! The containers: what can be said of `docker/` without building anything, and what Compose makes of its file. That it
//! all runs is shown by `tests/containers/run`.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keylend::config::SETTINGS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands after this word on its line, for each line that begins with it.
fn after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(word)).map(str::trim)
}

/// The services of the compose file, each with its lines.
fn services(compose: &str) -> Vec<(&str, String)> {
    let mut services: Vec<(&str, String)> = Vec::new();
    let of_services = compose.lines().skip_while(|line| *line != "services:").skip(1);
    for line in of_services.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with([' ', '#']))
            .and_then(|line| line.strip_suffix(':'))
        {
            Some(name) => services.push((name, String::new())),
            None => services.last_mut().unwrap().1.extend([line, "\n"]),
        }
    }
    services
}

const SERVICES: [&str; 6] = ["mongodb", "migrate", "keylend", "proxy", "bot", "prometheus"];

#[test]
fn every_setting_of_the_containers_is_one() {
    let (compose, dockerfile) = (read("docker/compose.yaml"), read("docker/Dockerfile"));
    // Each line of an environment, and each ENV.
    let mut named: Vec<String> =
        after(&dockerfile, "ENV ").map(|env| env.split('=').next().unwrap().to_owned()).collect();
    for (_, lines) in services(&compose) {
        let environment = lines.lines().skip_while(|line| line.trim() != "environment:").skip(1);
        let environment = environment.take_while(|line| line.starts_with("      "));
        let settings = environment.map(str::trim).filter(|line| !line.starts_with('#'));
        named.extend(settings.map(|line| line.split(':').next().unwrap().to_owned()));
    }
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(SETTINGS.contains(&name.as_str()), "{name} is no setting");
    }
}

#[test]
fn every_service_has_no_rights_and_time_to_end() {
    let compose = read("docker/compose.yaml");
    for right in ["read_only: true", "cap_drop: [ALL]", "security_opt: [\"no-new-privileges:true\"]"] {
        assert!(compose.lines().take_while(|line| *line != "services:").any(|line| line.trim() == right), "{right}");
    }
    let services = services(&compose);
    assert_eq!(services.iter().map(|(name, _)| *name).collect::<Vec<_>>(), SERVICES);
    for (name, lines) in &services {
        assert!(lines.contains("<<: *ours"), "{name}");
        for again in ["read_only:", "cap_drop:", "cap_add:", "security_opt:", "privileged:", "/var/run/docker.sock"] {
            assert!(!lines.contains(again), "{name}: {again}");
        }
        if ["keylend", "proxy"].contains(name) {
            let grace = after(lines, "stop_grace_period:").next().unwrap();
            assert!(grace.trim_end_matches('s').parse::<u64>().unwrap() > 11, "{name}");
        }
    }
}

#[test]
fn what_the_compose_file_names_is_there() {
    let (compose, dockerfile) = (read("docker/compose.yaml"), read("docker/Dockerfile"));
    let targets: Vec<&str> = compose.split("target: ").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
    assert_eq!(targets, ["keylend-migrate", "keylend", "keylend-bot"]);
    for target in targets {
        assert!(dockerfile.contains(&format!(" AS {target}\n")), "{target}");
    }
    for mount in after(&compose, "- ./") {
        let path = root().join("docker").join(mount.split(':').next().unwrap());
        assert!(path.exists(), "{}", path.display());
    }
    // What is read from a secret is a secret that the service is given, and that docker/prepare makes.
    let prepare = read("docker/prepare");
    for secret in compose.split("/run/secrets/").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
        assert!(
            compose.contains(&format!("\n  {secret}: {{file: \"${{KEYLEND_SECRETS:-./secrets}}/{secret}\"}}")),
            "{secret}"
        );
        assert!(prepare.contains(secret), "{secret}");
    }
    for (name, lines) in services(&compose) {
        let given = after(&lines, "secrets:").next().unwrap_or_default();
        for secret in lines.split("/run/secrets/").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
            assert!(given.contains(secret), "{name}: {secret}");
        }
    }
}

/// One that is missing would only be found by who builds the images.
#[test]
fn the_builder_is_given_every_manifest_and_the_compiler_of_the_project() {
    let (manifest, dockerfile, given) = (read("Cargo.toml"), read("docker/Dockerfile"), read(".dockerignore"));
    let members = after(&manifest, "members = [").next().unwrap().trim_end_matches(']');
    let members: Vec<&str> = members.split(", ").map(|member| member.trim_matches('"')).filter(|m| *m != ".").collect();
    assert!(members.len() > 2);
    for member in members {
        assert!(dockerfile.contains(&format!("COPY {member}/Cargo.toml {member}/\n")), "{member}");
        assert!(dockerfile.contains("for package in . ") && dockerfile.contains(&format!(" {member}")), "{member}");
        assert!(given.contains(&format!("!{member}/Cargo.toml\n")), "{member}");
    }
    let toolchain = read("rust-toolchain.toml");
    let channel = after(&toolchain, "channel = ").next().unwrap().trim_matches('"');
    let minor = channel.rsplit_once('.').unwrap().0;
    assert!(dockerfile.contains(&format!("\nFROM rust:{minor}-")), "{channel}");
}

/// Runs the Compose client on the file, with nothing of this machine's settings.
fn compose(arguments: &[&str]) -> String {
    let client = std::env::var("KEYLEND_TEST_COMPOSE").unwrap();
    let mut words = client.split(' ').map(PathBuf::from);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["-f", "docker/compose.yaml", "--profile", "bot", "--profile", "prometheus"]);
    command.args(arguments).current_dir(root()).env_clear();
    command.envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let done = command.output().unwrap();
    // A variable that is not set is only warned of.
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && !said.contains("not set"), "{said}");
    String::from_utf8(done.stdout).unwrap()
}

#[test_with::env(KEYLEND_TEST_COMPOSE)]
#[test]
fn compose_understands_the_file() {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&compose(&["config", "--services"])), sorted(&SERVICES.join(" ")));
    assert_eq!(sorted(&compose(&["config", "--volumes"])), ["bot", "mongodb", "mongodb-config", "prometheus"]);
    let config = compose(&["config"]);
    // Merged into each of them, and whatever stands for a variable filled in.
    for (text, least) in [
        ("no-new-privileges:true", SERVICES.len()),
        ("- ALL", SERVICES.len()),
        ("service_completed_successfully", 1),
        ("- flask_api", 1),
        ("docker/secrets/mongodb_uri", 1),
    ] {
        assert!(config.matches(text).count() >= least, "{text}: {config}");
    }
    assert!(!config.contains("${"), "{config}");
}
