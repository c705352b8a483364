//! The terminal: data to stdout, talk to stderr, and questions only to somebody who is there. Imports no room.

use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Where a command reads and writes.
pub(super) struct Console {
    data: Box<dyn Write>,
    talk: Box<dyn Write>,
    /// Somebody to ask, when there is a terminal at both ends.
    person: Option<Box<dyn BufRead>>,
    /// What is read when standard input is named as a file.
    input: Box<dyn Read>,
    /// Whether data may be coloured.
    pub(super) colour: bool,
    lost: Option<io::Error>,
}

impl Console {
    /// The process's own.
    pub(super) fn of_process() -> Self {
        let somebody = io::stdin().is_terminal() && io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        let person = somebody.then(|| Box::new(io::stdin().lock()) as Box<dyn BufRead>);
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), person)
            .coloured(io::stdout().is_terminal() && !plain)
    }

    pub(super) fn new(
        data: Box<dyn Write>,
        talk: Box<dyn Write>,
        person: Option<Box<dyn BufRead>>,
    ) -> Self {
        Self {
            data,
            talk,
            person,
            input: Box::new(io::stdin()),
            colour: false,
            lost: None,
        }
    }

    fn coloured(self, colour: bool) -> Self {
        Self { colour, ..self }
    }

    #[cfg(test)]
    pub(super) fn reading(self, input: Box<dyn Read>) -> Self {
        Self { input, ..self }
    }

    /// All of standard input, as text.
    pub(super) fn read_all(&mut self) -> io::Result<String> {
        let mut text = String::new();
        match &mut self.person {
            // It is standard input that they answer on.
            Some(person) => person.read_to_string(&mut text)?,
            None => self.input.read_to_string(&mut text)?,
        };
        Ok(text)
    }

    /// Prints a piece of what was asked for, as it is.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> bool {
        if let Err(why) = self.data.write_all(bytes) {
            self.lost.get_or_insert(why);
        }
        self.lost.is_none()
    }

    /// Prints what was asked for.
    pub(super) fn data(&mut self, text: &str) {
        if let Err(why) = writeln!(self.data, "{}", text.trim_end()) {
            self.lost.get_or_insert(why);
        }
    }

    /// Says something beside the data. Who does not listen misses nothing that matters.
    pub(super) fn say(&mut self, text: &str) {
        let _ = writeln!(self.talk, "{}", text.trim_end());
    }

    /// Says lines from elsewhere beside the data.
    pub(super) fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.say(&harmless(line));
        }
    }

    /// Asks a question; `None` when nobody is there, or no answer comes.
    pub(super) fn ask(&mut self, question: &str) -> Option<String> {
        let person = self.person.as_mut()?;
        let _ = write!(self.talk, "{question}");
        let _ = self.talk.flush();
        let mut answer = String::new();
        let bytes = person.read_line(&mut answer).ok()?;
        (bytes > 0).then(|| answer.trim().to_owned())
    }

    /// Whether there is somebody to ask.
    pub(super) fn attended(&self) -> bool {
        self.person.is_some()
    }

    /// Ends: everything printed is on its way, or why it is not. A reader that has seen enough (`| head`) is no failure.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.lost.map_or_else(|| self.data.flush(), Err) {
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            ended => ended,
        }
    }
}

/// Text from elsewhere without control, hidden and direction characters, so that it can neither drive the terminal nor forge a
/// line nor look like another.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_hidden(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Characters that show as nothing or turn the direction of what follows.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
