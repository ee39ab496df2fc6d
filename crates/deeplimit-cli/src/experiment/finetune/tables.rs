//! The tables of the fine-tunings and the deep flows.

use super::findings::Shown;
use super::page::{MEGABYTE, megabytes};
use super::rows::Kind;
use super::transfer::Start;
use crate::experiment::Size;
use crate::page::{Table, Text, significant};

fn number(value: Option<f64>) -> Text {
    value.map_or("–".into(), |value| significant(value).into())
}

fn percent(value: Option<f64>) -> Text {
    value.map_or("–".into(), |value| format!("{value:.2} %").into())
}

impl Shown<'_> {
    /// The paper's table 2, in our numbers.
    pub fn methods(&self) -> Table {
        let head = [
            "gradient",
            "statistics",
            "accuracy",
            "loss, first tenth",
            "last tenth",
            "error estimate",
            "state error e₀",
            "walked again",
            "seconds",
            "peak (MB)",
        ];
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for (kind, name) in [(Kind::Original, "as it was"), (Kind::Converted, "flows, untrained")] {
            for row in self.of_kind(kind) {
                let mut line: Vec<Text> = vec![name.into(), "–".into(), percent(row.accuracy)];
                line.resize(head.len(), "–".into());
                rows.push(line);
            }
        }
        for row in self.of_kind(Kind::Tuned) {
            rows.push(vec![
                row.method.clone().into(),
                row.statistics.clone().into(),
                percent(row.accuracy),
                number(row.first_loss),
                number(row.last_loss),
                number(row.estimate),
                number(row.state_error),
                percent(row.again.map(|share| 100.0 * share)),
                number(row.seconds),
                number(megabytes(row)),
            ]);
        }
        let blocks = self.of_kind(Kind::Original).next().map_or("", |row| &row.depths);
        let images = self.of_kind(Kind::Tuned).find_map(|row| row.images).unwrap_or(0);
        let caption = format!(
            "Flows of {blocks} steps; accuracy on held-out images; error estimate and state error are medians \
             over the steps; peak memory for {images} images"
        );
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    pub fn gradients(&self) -> Table {
        let head = [
            "blocks",
            "gradient",
            "peak (MB)",
            "an image more (MB)",
            "parameters (MB)",
            "seconds, one thread",
            "error estimate",
            "state error e₀",
            "walked again",
        ];
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for row in self.of_kind(Kind::Gradient) {
            let bytes = |bytes: Option<usize>| number(bytes.map(|b| b as f64 / MEGABYTE));
            rows.push(vec![
                row.depths.clone().into(),
                row.method.clone().into(),
                bytes(row.peak_bytes),
                bytes(row.image_bytes),
                bytes(row.parameter_bytes),
                number(row.seconds),
                number(row.estimate),
                number(row.state_error),
                percent(row.again.map(|share| 100.0 * share)),
            ]);
        }
        let images = self.of_kind(Kind::Gradient).find_map(|row| row.images).unwrap_or(0);
        let caption = format!(
            "One gradient on {images} images, statistics frozen, at the weights of the network"
        );
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    /// The accuracy by weights carried in two ways.
    pub fn carried(&self) -> Table {
        let head = ["blocks", "weights between blocks", "accuracy before training", "loss"];
        let rows = self.of_kind(Kind::Carried).map(|row| {
            vec![
                row.depths.clone().into(),
                row.by.clone().into(),
                percent(row.accuracy),
                number(row.loss),
            ]
        });
        let images = self.of_kind(Kind::Carried).find_map(|row| row.images).unwrap_or(0);
        let caption = format!("Carried to more steps, on {images} held-out images");
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: rows.collect() }
    }

    pub fn deep(&self) -> Table {
        let head = [
            "blocks",
            "gradient",
            "steps",
            "accuracy",
            "held-out loss",
            "error estimate",
            "state error e₀",
            "seconds",
        ];
        let rows = self.of_kind(Kind::Deep).map(|row| {
            let steps = row.step.map_or("–".into(), |steps| steps.to_string().into());
            vec![
                row.depths.clone().into(),
                row.method.clone().into(),
                steps,
                percent(row.accuracy),
                number(row.loss),
                number(row.estimate),
                number(row.state_error),
                number(row.seconds),
            ]
        });
        let caption = match self.size {
            Size::Full => "Trained for a few steps",
            Size::Quick => "Trained for a few steps, at a smaller depth than in full size",
        };
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: rows.collect() }
    }

    pub fn transfers_table(&self) -> Table {
        let head = ["start", "accuracy", "loss, first tenth", "last tenth", "steps", "seconds"];
        let rows = self.of_kind(Kind::Transfer).map(|row| {
            vec![
                row.start.map_or("–", Start::name).into(),
                percent(row.accuracy),
                number(row.first_loss),
                number(row.last_loss),
                row.step.map_or("–".into(), |steps| steps.to_string().into()),
                number(row.seconds),
            ]
        });
        let caption = "One pass with a new head; accuracy on held-out images";
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: rows.collect() }
    }
}
