//! Who of a mail's recipients gets it: those that a segment suppresses are left out before anybody is asked to send it.

use lettre::message::Mailbox;

use super::Mail;

/// What came of one recipient, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::targets) struct Recipient {
    pub(in crate::targets) address: String,
    pub(in crate::targets) cause: String,
}

impl Mail {
    /// Leaves out whoever is suppressed, and gives them. When nobody of To is left, those of Cc take their place. A mail that was
    /// only for others is left as it is, without To: it is not to be sent, since Bcc would be shown to each other.
    pub(in crate::targets) fn leave_out(
        &mut self,
        suppressed: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut left_out = Vec::new();
        for boxes in [&mut self.to, &mut self.cc, &mut self.bcc] {
            boxes.retain(|mailbox| {
                let stays = !suppressed(mailbox.email.as_ref());
                if !stays {
                    left_out.push(mailbox.email.to_string());
                }
                stays
            });
        }
        if self.to.is_empty() {
            self.to = std::mem::take(&mut self.cc);
        }
        left_out
    }

    /// Everybody whom it is for.
    pub(in crate::targets) fn recipients(&self) -> impl Iterator<Item = &Mailbox> {
        [&self.to, &self.cc, &self.bcc].into_iter().flatten()
    }

    /// A provider that takes the mail for others refuses this recipient.
    pub(in crate::targets) fn refused(&self, address: &str, cause: &str) {
        self.refused.borrow_mut().push(Recipient {
            address: address.to_owned(),
            cause: cause.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn check(to: Json, cc: Json, bcc: Json, expected: [&[&str]; 4]) {
        let job = json!({"from": "a@b.example", "to": to, "cc": cc, "bcc": bcc, "subject": "x", "text": "y"});
        let mut mail = Mail::read(job.to_string().as_bytes(), "k").unwrap();
        let left_out = mail.leave_out(|address| address.starts_with("no"));
        let of = |boxes: &[Mailbox]| -> Vec<String> {
            boxes
                .iter()
                .map(|mailbox| mailbox.email.to_string())
                .collect()
        };
        let got = [of(&mail.to), of(&mail.cc), of(&mail.bcc), left_out];
        assert_eq!(
            got,
            expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        );
    }

    #[test]
    fn suppressed_recipients_are_left_out() {
        let (yes, no) = ("yes@x.example", "no@x.example");
        check(
            json!([yes, no]),
            json!([no]),
            json!([yes]),
            [&[yes], &[], &[yes], &[no, no]],
        );
        check(
            json!([no]),
            json!([yes]),
            json!([]),
            [&[yes], &[], &[], &[no]],
        );
        check(
            json!([no]),
            json!([]),
            json!([yes]),
            [&[], &[], &[yes], &[no]],
        );
        check(json!([no]), json!([]), json!([]), [&[], &[], &[], &[no]]);
    }
}
