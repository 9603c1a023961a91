use std::fs;
use std::path::Path;

use tokio::net::unix::pipe;

use super::super::sample;
use super::*;
use crate::integration::GrantKind;

fn command(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A shell script with `$1` as the file to write to.
fn script(text: &str, file: &Path) -> Vec<OsString> {
    let mut words = command(&["sh", "-c", text, "sh"]);
    words.push(file.into());
    words
}

async fn run_alone(command: &[OsString]) -> Result<u8, Error> {
    let handed = sample(GrantKind::User);
    run_with(command, &handed, RefreshToken::Withheld, stream::pending()).await
}

#[tokio::test]
async fn s60_the_child_finds_the_token_in_its_environment_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = r#"env | grep ^NINJARMM_ | sort > "$1"
        for a in "$0" "$@"; do
            case $a in *"$NINJARMM_USER_ACCESS_TOKEN"*) exit 9;; esac
        done
        ! grep -q "$NINJARMM_USER_ACCESS_TOKEN" /proc/$$/cmdline 2> /dev/null || exit 8
        exit 0"#;
    assert_eq!(run_alone(&script(text, &out)).await.unwrap(), 0);
    assert_eq!(
        fs::read_to_string(&out).unwrap(),
        "NINJARMM_BASE_URL=https://ca.ninjarmm.com\n\
         NINJARMM_USER_ACCESS_TOKEN=CANARY-access\n\
         NINJARMM_USER_EXPIRES_IN=3600\n"
    );
    assert!(std::env::var_os("NINJARMM_USER_ACCESS_TOKEN").is_none());

    let handed = sample(GrantKind::Client);
    let text = r#"printf %s "$NINJARMM_CLIENT_REFRESH_TOKEN" > "$1""#;
    let command = script(text, &out);
    let code = run_with(&command, &handed, RefreshToken::Included, stream::pending());
    assert_eq!(code.await.unwrap(), 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "CANARY-refresh");
}

/// What the child needs to know is the token. Our key to the API would let it take all the others,
/// and a child that is Evergreen itself would act where we are.
#[tokio::test]
async fn of_our_own_variables_the_child_gets_none() {
    let inherited = [
        ("EVERGREEN_API_KEY", "CANARY"),
        ("EVERGREEN_SEAL_KEYS", "CANARY"),
        ("EVERGREEN_SEAL_KEYS_FILE", "/etc/keys"),
        ("EVERGREEN_URL", "http://127.0.0.1:8080"),
        ("EVERGREEN_", "odd"),
        ("NINJARMM_USER_REFRESH_TOKEN", "CANARY of another pair"),
        ("EVERGREENS", "trees"),
        ("PATH", "/bin:/usr/bin"),
    ];
    let inherited = inherited.map(|(name, value)| (name.into(), value.into()));
    let kept = passed_on(inherited, Names::of(GrantKind::User));
    let names: Vec<_> = kept.map(|(name, _)| name).collect();
    assert_eq!(names, ["EVERGREENS", "PATH"]);
}

#[tokio::test]
async fn s60_the_exit_code_is_passed_on() {
    for code in [0, 1, 4, 42, 255] {
        let text = format!("exit {code}");
        let ended = run_alone(&command(&["sh", "-c", &text])).await.unwrap();
        assert_eq!(ended, code);
    }
    let killed = run_alone(&command(&["sh", "-c", "kill -KILL $$"])).await;
    assert_eq!(killed.unwrap(), 128 + 9);
}

#[tokio::test]
async fn what_cannot_start_exits_as_a_shell_would() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    let missing = run_alone(&command(&["evergreen-no-such-command"])).await;
    let missing = missing.unwrap_err();
    assert_eq!(missing.exit_code(), 127);
    assert_eq!(
        missing.to_string(),
        "command not found: evergreen-no-such-command"
    );
    let not_executable = run_alone(&[plain.into_os_string()]).await.unwrap_err();
    assert_eq!(not_executable.exit_code(), 126);
    assert_eq!(run_alone(&[]).await.unwrap_err().exit_code(), 2);
    for error in [missing, not_executable] {
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }
}

#[tokio::test]
async fn signals_reach_the_child_and_its_answer_counts() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT")] {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let made = std::process::Command::new("mkfifo").arg(&ready).status();
        assert!(made.unwrap().success());
        let told = pipe::OpenOptions::new().open_receiver(&ready).unwrap();
        // The loop waits for the signal; its bound ends a child whose test is gone.
        let text = format!(
            "trap 'exit 33' {name}; echo > \"$1\"; \
             n=0; while [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; exit 1"
        );
        // Sent when the child says that it would catch it.
        let sent = stream::once(async move {
            told.readable().await.unwrap();
            signal
        });
        let handed = sample(GrantKind::User);
        let command = script(&text, &ready);
        let code = run_with(&command, &handed, RefreshToken::Withheld, sent).await;
        assert_eq!(code.unwrap(), 33, "{name}");
    }
}

#[tokio::test]
async fn a_child_that_does_not_catch_the_signal_ends_by_it() {
    let handed = sample(GrantKind::User);
    let command = command(&["sleep", "30"]);
    let sent = stream::once(async { Signal::TERM });
    let code = run_with(&command, &handed, RefreshToken::Withheld, sent).await;
    assert_eq!(code.unwrap(), 128 + 15);
}

#[tokio::test]
async fn real_signals_are_caught() {
    let mut signals = std::pin::pin!(caught().unwrap());
    // Caught now, so this does not end the test.
    kill_process(rustix::process::getpid(), Signal::HUP).unwrap();
    assert_eq!(signals.next().await, Some(Signal::HUP));
}
