//! The texts for the owner's card: `JOIN.txt` as it changes, and `API-KEY.txt` when it is asked for.

use std::time::Duration;

use tokio::sync::watch;

use super::{App, lan};
use crate::config::model::Model;
use crate::coordinator::core::join_sheet::{Doors, api_key_text, join_text};
use crate::coordinator::ledger::{JoinSheet, Refusal};

/// How often to look whether the box has another address in the house.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The text of `JOIN.txt`, each time it is another.
pub struct JoinTexts {
    sheet: watch::Receiver<Option<JoinSheet>>,
    model: Model,
    last: Option<String>,
}

impl App {
    /// From the first call on, a pre-auth key is ready for every host of the policy that no machine has joined as.
    #[must_use]
    pub fn join_texts(&self) -> JoinTexts {
        JoinTexts { sheet: self.ledger.join_sheet(), model: self.fixed.clone(), last: None }
    }

    /// Makes an API key for who holds the card, and the text of `API-KEY.txt` around it. One made so before that nobody used
    /// ends.
    ///
    /// # Errors
    /// The key could not be stored.
    pub async fn api_key_text(&self) -> Result<String, Refusal> {
        let (key, until) = self.ledger.create_card_key(self.pin).await?;
        Ok(api_key_text(&key, until, &doors(&self.fixed)))
    }
}

impl JoinTexts {
    /// The next text that differs from the last one; the first at once. `None`: the house is closed.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let sheet = self.sheet.borrow_and_update().clone();
            let text = sheet.map(|sheet| join_text(&sheet, &doors(&self.model)));
            if text.is_some() && text != self.last {
                self.last.clone_from(&text);
                return text;
            }
            // Out of patience: the address may be another.
            if let Ok(changed) = tokio::time::timeout(LOOK_INTERVAL, self.sheet.changed()).await {
                changed.ok()?;
            }
        }
    }
}

fn doors(model: &Model) -> Doors {
    Doors {
        lan: lan::find(&model.lan).map(|lan| lan.address),
        name: model.name.clone(),
        control_port: model.ports.control,
        https_port: model.ports.https,
        api_port: model.ports.api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_text_comes_once_and_the_first_at_once() {
        let (sender, sheet) = watch::channel(None);
        let mut texts = JoinTexts { sheet, model: Model::default(), last: None };
        let patience = Duration::from_millis(50);
        assert!(tokio::time::timeout(patience, texts.next()).await.is_err(), "no sheet has been made yet");
        sender.send_replace(Some(JoinSheet::default()));
        let first = texts.next().await.expect("a first text");
        assert!(first.contains("names no hosts"), "{first}");
        sender.send_replace(Some(JoinSheet::default()));
        assert!(tokio::time::timeout(patience, texts.next()).await.is_err(), "it says the same");
        sender.send_replace(Some(JoinSheet { left_out: 3, ..JoinSheet::default() }));
        assert!(texts.next().await.expect("another text").contains("3 hosts more"));
        drop(sender);
        assert_eq!(texts.next().await, None);
    }
}
