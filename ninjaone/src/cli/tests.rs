use clap::Parser as _;

use super::*;

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    let words = std::iter::once("evergreen").chain(words.iter().copied());
    let matches = command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    command().debug_assert();
}

#[test]
fn every_command_of_the_surface_is_understood() {
    for words in [
        "dev --listen 127.0.0.1:0 --redis-url redis://h",
        "serve --lease 20s --config e.toml",
        "worker --refresh-buffer -5s",
        "apikeys create --name n --scope read --scope admin --tenant acme --json",
        "apikeys list",
        "apikeys revoke key_0123456789ab",
        "simulator --listen 127.0.0.1:0 --json",
        "connect acme/prod --region eu --grant client",
        "connect acme/prod --instance-url https://h --no-wait",
        "import --format alga /run/secrets --dry-run --replace",
        "import --format tokens-json t.json --id acme/prod --instance-url https://h",
        "import --format jsonl - --json",
        "backfill --only acme/prod --limit 5 --dry-run",
        "list --state reconnectrequired --attention",
        "--json list",
        "status acme/prod@client --json",
        "history acme/prod",
        "explain acme/prod@client --json",
        "refresh acme/prod",
        "reset acme/prod",
        "requeue acme/prod@user",
        "disconnect acme/prod@user",
        "token acme/prod --min-validity 300 --format tokens-json --with-refresh-token",
        "token acme/prod --watch t.json",
        "exec acme/prod -- printenv --null -- x",
        "events --follow",
        "keys generate",
        "doctor --redis-url redis://h --json",
        "top --every 2s --once",
        "journal list --dir /mnt/x --json",
        "journal replay --dir /mnt/x --redis-url redis://h",
        "migrate --redis-url redis://h --partitions 64",
        "bench timers --count 1000 --redis-url redis://h --json",
        "bench takeover --lease 10s --rounds 2",
        "bench lateness --no-wakes",
        "bench idle --workers 3 --timers 1000000 --for 30s",
        "completions zsh",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        if let Err(error) = parse(&words) {
            panic!("{words:?}: {error}");
        }
    }
    assert!(parse(&["list", "--json"]).unwrap().json);
    assert!(parse(&["simulator", "--json"]).unwrap().json);
}

#[test]
fn wrong_usage_exits_2_and_names_the_rule() {
    for (words, told) in [
        ("status acme", "TENANT/INTEGRATION"),
        ("status ac$me/prod", "1 to 100 characters"),
        ("list --state Sleeping", "ReconnectRequired"),
        ("token acme/prod --min-validity soon", "allowed are seconds"),
        ("exec acme/prod", "<CMD>"),
        ("import --format xml x", "tokens-json"),
        ("bench takeover --lease 1s", "a duration from 3s"),
        ("bench timers --count 0", "1..="),
        ("frobnicate", "unrecognized"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let error = parse(&words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
        assert!(error.to_string().contains(told), "{words:?}: {error}");
    }
}

#[test]
fn every_command_has_a_help_with_an_example() {
    let command = command();
    for one in command.get_subcommands() {
        let mut one = one.clone();
        let name = one.get_name().to_owned();
        let help = one.render_long_help().to_string();
        let nested = one.get_subcommands().any(|verb| {
            let mut verb = verb.clone();
            verb.render_long_help().to_string().contains("Example")
        });
        assert!(nested || help.contains("Example"), "{name}: {help}");
        assert!(one.get_about().is_some(), "{name}");
    }
}

#[test]
fn no_secret_can_be_given_as_an_argument() {
    for one in command().get_subcommands() {
        for arg in one.get_arguments() {
            let flag = arg.get_long().unwrap_or_default();
            let holds_one =
                flag.ends_with("secret") || flag.ends_with("api-key") || flag == "seal-keys";
            assert!(!holds_one, "{} --{flag}", one.get_name());
        }
    }
}

#[test]
fn an_unknown_flag_never_shows_the_environment() {
    let error = Cli::try_parse_from(["evergreen", "list", "--key", "x"]).unwrap_err();
    assert!(!error.to_string().contains("EVERGREEN_API_KEY="));
}
