//! The progress bar of training, on standard error.

use crate::metrics::StepLine;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar over all steps of a run; silent where standard error is no terminal.
pub struct Progress {
    bar: ProgressBar,
    epochs: usize,
}

impl Progress {
    /// A bar that starts after the steps already done.
    pub fn new(total: usize, done: usize, epochs: usize) -> Self {
        let bar = ProgressBar::new(total as u64).with_position(done as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(250));
        let template = "{bar:28} {pos}/{len} steps, {eta} left  {msg}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.expect("the template is a constant"));
        Self { bar, epochs }
    }

    /// Shows the last step.
    pub fn show(&self, line: &StepLine, samples_per_second: f64) {
        let accuracy =
            line.accuracy.map_or(String::new(), |a| format!("  accuracy {:5.1} %", 100.0 * a));
        let certificate = line.error_estimate();
        self.bar.set_message(format!(
            "epoch {}/{}  loss {:.4}{accuracy}  {samples_per_second:.0} samples/s  \
             certificate {certificate:.1e}",
            line.epoch + 1,
            self.epochs,
            line.loss,
        ));
        self.bar.set_position(line.step as u64);
    }

    /// Prints a line above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| crate::say(text));
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
