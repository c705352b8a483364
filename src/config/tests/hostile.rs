//! Whatever is written, the reader neither panics nor shows a secret.

use proptest::prelude::*;

use super::*;

const CANARY: &str = "amqp://user:canary@broker.example/%2f";

#[test]
fn a_secret_is_never_shown_whatever_is_wrong_around_it() {
    for text in [
        format!("[amqp]\nurl = \"{CANARY}\"\n"),
        format!("[amqp]\nurl = [\"{CANARY}\"]\n"),
        format!("[amqp]\nurl = \"{CANARY}\nx = 1\n"),
        format!("[amqp]\nurl = {CANARY}\n"),
        format!("[amqp]\nurl : \"{CANARY}\"\n"),
        format!("[amqp]\nurl_file = \"{CANARY}\"\nurl_env = \"{CANARY}\"\n"),
        format!("[amqp]\nurl_file = \"{CANARY}\"\n"),
        format!("[amqp]\nurl_env = \"{CANARY}\"\n"),
        format!("amqp = \"{CANARY}\"\n"),
        format!("amqp = {{ url = \"{CANARY}\", heartbeat = 1 }}\n"),
        "amqp = { url = \"user:canary@h\", hartbeat = 1 }\n".to_owned(),
        format!("[daemon]\nlisten = \"{CANARY}\"\nlog = \"user:canary@h\"\n"),
        "[amqp]\npassword = \"canary\"\n".to_owned(),
        "[amqp]\npassword = canary\n".to_owned(),
        "[[provider]]\napi_key = \"canary\"\n".to_owned(),
        "provider = [{ api_key = \"canary\" }]\n".to_owned(),
        "queue = [\"canary\", { name = \"x\", target = { http = \"http://u:canary@h\", x = 1 } }]\n".to_owned(),
    ] {
        let problems = with(&text, &[]).expect_err(&text);
        let shown = format!("{problems}{problems:?}");
        assert!(!shown.contains("canary"), "{text}\n{problems}");
    }
    let read = settings(
        &SMALL
            .replace("127.0.0.1\"", "u:canary@h\"")
            .replace("u:canary@h", "u:canary@127.0.0.1"),
    );
    assert_eq!(read.amqp.url.expose(), "amqp://u:canary@127.0.0.1");
    assert!(!format!("{read:?}").contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}", name in "[a-zA-Z_]{0,12}", value in "[ -~]{0,30}") {
        for text in [&text, &format!("{SMALL}{text}"), &format!("{SMALL}{name} = {value}\n"), &format!("[[flag]]\n{name} = {value}")] {
            let told = with(text, &[]).map_or_else(|problems| problems.to_string(), |read| format!("{read:?}"));
            prop_assert!(!told.is_empty());
            let _ = flags::read_text("flags.toml", text).map_err(|problems| problems.to_string());
        }
    }

    #[test]
    fn no_variable_makes_the_reader_panic(name in "SLUICEGATE__[A-Z_]{0,30}", value in ".{0,40}") {
        for name in [name.as_str(), "SLUICEGATE__QUEUE__ORDERS__SLOTS", "SLUICEGATE__QUEUE__ORDERS__ATTRIBUTES__A", "SLUICEGATE__QUEUE__ORDERS__TARGET", "SLUICEGATE__AMQP"] {
            if let Err(problems) = with(SMALL, &[(name, &value)]) {
                prop_assert!(problems.to_string().contains(name), "{}", problems);
            }
        }
    }

    #[test]
    fn a_slip_in_one_line_gives_settings_or_a_problem_with_its_line(line in 0_usize..200, at in 0_usize..80, letter in "[a-z\"'=\\[\\]{}#. \n]", kind in 0_u8..3) {
        let sample = sample_with_everything();
        let lines: Vec<&str> = sample.lines().collect();
        let line = line % lines.len();
        let mut slipped: Vec<char> = lines[line].chars().collect();
        let at = at.min(slipped.len());
        match kind {
            0 => slipped.splice(at..at, letter.chars()).for_each(drop),
            1 if at < slipped.len() => drop(slipped.remove(at)),
            _ => slipped.clear(),
        }
        let slipped: String = slipped.into_iter().collect();
        let mut text: Vec<&str> = lines.clone();
        text[line] = &slipped;
        let text = text.join("\n");
        if let Err(problems) = with(&text, &[]) {
            prop_assert!(!problems.to_string().contains("canary"), "{}\n{}", text, problems);
            for problem in problems.all() {
                let whole = problem.message.contains("is missing") && !problem.message.contains("queue.");
                prop_assert!(problem.line.is_some() || whole, "{}\n{}", text, problems);
                prop_assert!(!problem.help.is_empty());
            }
        }
    }
}

/// The sample with every default written out, and a password.
pub(super) fn sample_with_everything() -> String {
    let sample = include_str!("../../../config/sluicegate.toml");
    let lines = sample.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|letter: char| letter.is_ascii_lowercase()) => setting,
        Some(_) => "",
        None => line,
    });
    let text: String = lines
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    text.replace("guest:guest", "guest:canary")
}

/// Whatever is hardest to read; as much of it as a test may take.
#[test]
fn a_long_file_is_refused_with_a_short_answer_however_it_is_made() {
    let filled = |head: &str, part: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        let mut number = 0;
        while text.len() < 100_000 {
            text.push_str(&part(number));
            number += 1;
        }
        text
    };
    for text in [
        filled("", &|_| "a=\n".to_owned()),
        filled("", &|number| format!("key{number} = 1\n")),
        filled("", &|_| "[[queue]]\n".to_owned()),
        filled("[amqp]\nurl = [", &|_| "'a:b@c',".to_owned()),
        filled("x = { a = 1", &|number| format!(", k{number} = 1")),
        filled("x = ", &|_| "[".to_owned()),
        filled("a", &|_| ".a".to_owned()) + " = 1\n",
        filled("[a", &|_| ".a".to_owned()) + "]\n",
        filled("url = '", &|_| "@".to_owned()),
    ] {
        let head: String = text.chars().take(30).collect();
        let problems = with(&text, &[]).map(drop).expect_err(&head).to_string();
        assert!(problems.len() < 100_000, "{head}: {} bytes", problems.len());
        let _ = flags::read_text("flags.toml", &text);
    }
}
