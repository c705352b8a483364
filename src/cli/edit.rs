//! `flag edit`: a flag's whole document in an editor or from a file. When somebody was faster, theirs is shown and yours is kept.
//! May import `rules`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use serde_json::{Map, Value as Json};

use super::difference::difference;
use super::documents::{self, without_the_daemons};
use super::failure::{Exit, Failure};
use super::files;
use super::grammar::{EditArgs, Notation};
use super::session::{Seen, Session, outrun, would};
use super::views::FlagView;
use crate::rules::document::FlagDocument;

/// Where a text came from.
enum From {
    Editor,
    File(PathBuf),
}

/// `flag edit`
pub(super) async fn edit(session: &mut Session<'_>, asked: &EditArgs) -> Result<(), Failure> {
    let (flag, etag) = session.flag(asked.key.as_str()).await?;
    let former = documents::text(&flag.document(), asked.format)?;
    let (text, from) = match &asked.file {
        Some(file) => (
            files::read(session.console, file)?,
            From::File(file.clone()),
        ),
        None => (
            in_editor(session, &flag, &former, asked.format)?,
            From::Editor,
        ),
    };
    let (wanted, saw) = match wanted(&text, &flag) {
        Ok(read) => read,
        Err(why) => return Err(kept(why, &from, &asked.key.to_string(), &text)),
    };
    let after = documents::text(&wanted, asked.format)?;
    let changes = difference(&former, &after);
    if changes.is_empty() {
        let flag = flag.whole.clone();
        session.show(&flag, |console| console.data("nothing to change"));
        return Ok(());
    }
    if !session.json {
        session.console.lines(&changes);
    }
    let reason = session.reason(&asked.terms)?;
    let mut body = wanted;
    body.insert("reason".to_owned(), Json::from(reason));
    let etag = saw.map_or(etag, |revision| format!("\"{revision}\""));
    let seen = Seen {
        flag: &flag,
        etag: &etag,
        keep: asked.keep,
    };
    let answer = session
        .change(Method::PUT, &seen, body, &asked.terms)
        .await?;
    if let Some(now) = answer.stands_now() {
        let now = FlagView::of(now.clone())?;
        let theirs = documents::text(&now.document(), asked.format)?;
        show_theirs(session, &flag, &former, &theirs);
        let why = outrun(&flag, &now);
        return Err(kept(why, &from, &flag.key, &text));
    }
    let answer = answer
        .done()
        .map_err(|why| kept(why, &from, &flag.key, &text))?;
    let revision = answer["revision"].clone();
    session.show(&answer, |console| {
        let is = if asked.terms.dry_run {
            "would be changed".to_owned()
        } else {
            format!("is changed (revision {revision})")
        };
        console.data(&format!("{}{} {is}", would(&asked.terms), flag.key));
    });
    Ok(())
}

/// What the text wants, and the revision that it says its author saw.
fn wanted(text: &str, flag: &FlagView) -> Result<(Map<String, Json>, Option<u64>), Failure> {
    let usage = |sentence: String| Failure::new(Exit::Usage, sentence);
    if text.trim().is_empty() {
        return Err(usage(
            "the document is empty: nothing was changed".to_owned(),
        ));
    }
    let mut read = without_the_daemons(documents::read(text)?, &flag.whole);
    let saw = read.get("revision").and_then(Json::as_u64);
    // What never changes may be left out.
    for (name, value) in [
        ("key", &flag.key),
        ("kind", &flag.kind),
        ("type", &flag.value_type),
    ] {
        let said = read
            .entry(name)
            .or_insert_with(|| Json::from(value.as_str()));
        if said != value.as_str() {
            let sentence = format!(
                "`{name}` is {said} in the document, and {value} of {}; it never changes: create another flag",
                flag.key
            );
            return Err(usage(sentence));
        }
    }
    let document: FlagDocument = serde_json::from_value(Json::Object(read))
        .map_err(|why| usage(format!("the document is no flag: {why}")))?;
    let document = serde_json::to_value(document).unwrap_or_default();
    Ok((documents::of_flag(&document), saw))
}

/// What somebody else changed in the meantime.
fn show_theirs(session: &mut Session<'_>, flag: &FlagView, former: &str, theirs: &str) {
    let changes = difference(former, theirs);
    if !session.json && !changes.is_empty() {
        let title = format!("what somebody else changed in {} meanwhile:", flag.key);
        session.console.say(&title);
        session.console.lines(&changes);
    }
}

/// The failure, with where the text lies that was not taken.
fn kept(why: Failure, from: &From, key: &str, text: &str) -> Failure {
    let file = match from {
        From::File(file) if file != Path::new("-") => Ok(file.clone()),
        _ if text.trim().is_empty() => return why,
        _ => keep(key, text),
    };
    let more = match file {
        Ok(file) => {
            let file = file.display();
            format!("yours is in {file}: sluicegate flag edit {key} --file {file}")
        }
        Err(io) => format!("yours could not be kept in a file ({io})"),
    };
    let sentence = format!("{why}; {more}");
    why.saying(sentence)
}

/// Writes a text into a new file that only its owner can read.
fn keep(key: &str, text: &str) -> std::io::Result<PathBuf> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = key.chars().map(plain).collect();
    let ending = if text.trim_start().starts_with('{') {
        "json"
    } else {
        "toml"
    };
    let folder = std::env::temp_dir();
    let process = std::process::id();
    let mut number = 0;
    loop {
        let file = folder.join(format!("sluicegate-{name}-{process}-{number}.{ending}"));
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file);
        match made {
            Ok(mut made) => return made.write_all(text.as_bytes()).map(|()| file),
            Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists && number < 100 => {
                number += 1
            }
            Err(why) => return Err(why),
        }
    }
}

/// The text as it comes back from the editor.
fn in_editor(
    session: &mut Session<'_>,
    flag: &FlagView,
    former: &str,
    format: Notation,
) -> Result<String, Failure> {
    if !session.console.attended() {
        let sentence = "there is no terminal for an editor; give the document by --file FILE, or --file - for standard input";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let head = match format {
        Notation::Json => String::new(),
        Notation::Toml => format!(
            "# {}, revision {}. Save and leave; key, kind and type never change.\n",
            flag.key, flag.revision
        ),
    };
    let broken = |why: std::io::Error| {
        Failure::new(Exit::Failed, format!("the editor could not be used: {why}"))
    };
    let file = keep(&flag.key, &format!("{head}{former}")).map_err(broken)?;
    let editor = session.editor;
    // Through a shell, so that `code --wait` works as it does for others.
    let ended = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&file)
        .status();
    let text = match ended {
        Ok(status) if status.success() => std::fs::read_to_string(&file).map_err(broken),
        Ok(status) => {
            let sentence =
                format!("the editor `{editor}` ended with {status}; nothing was changed");
            Err(Failure::new(Exit::Failed, sentence))
        }
        Err(why) => Err(broken(why)),
    };
    let _ = std::fs::remove_file(&file);
    text
}
