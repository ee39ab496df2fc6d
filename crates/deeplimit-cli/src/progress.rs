//! Where long work stands, on standard error: a bar on a terminal, elsewhere a line every half minute.

use crate::metrics::StepLine;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// The longest silence where standard error is no terminal.
const SILENCE: Duration = Duration::from_secs(30);

/// Says something whenever nothing was said for a while, until it is dropped.
struct Ticker {
    /// Whatever is sent stands for something said by others.
    said: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn new(silence: Duration, mut tell: impl FnMut() + Send + 'static) -> Self {
        let (said, heard) = channel();
        let ready = Arc::new(Barrier::new(2));
        let begun = Arc::clone(&ready);
        let thread = spawn(move || {
            // What a thread allocates to wait at all is not to be counted with what goes on beside it.
            let _ = heard.recv_timeout(Duration::from_millis(1));
            begun.wait();
            loop {
                match heard.recv_timeout(silence) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => tell(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        ready.wait();
        Self { said: Some(said), thread: Some(thread) }
    }

    fn hear(&self) {
        if let Some(said) = &self.said {
            // The thread ends with this sender only.
            let _ = said.send(());
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.said = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Work of which nothing is known but how long it takes so far.
pub struct Waiting {
    bar: Option<ProgressBar>,
    _ticker: Option<Ticker>,
}

impl Waiting {
    /// Begins; `what` names the work.
    pub fn new(what: &'static str) -> Self {
        if !stderr().is_terminal() {
            return Self::in_lines(what);
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed} so far");
        bar.set_style(style.expect("the template is a constant"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar: Some(bar), _ticker: None }
    }

    /// The same in lines everywhere: with no thread that draws while memory is counted.
    pub fn in_lines(what: &'static str) -> Self {
        let began = Instant::now();
        let told = move || format!("{what}: {} so far", HumanDuration(began.elapsed()));
        Self { bar: None, _ticker: Some(Ticker::new(SILENCE, move || crate::say(&told()))) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over all steps of a run.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Steps done before, and of the whole run.
    steps: [usize; 2],
    epochs: usize,
    status: Arc<Mutex<String>>,
    ticker: Option<Ticker>,
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
        let status = Arc::new(Mutex::new(format!("step {done}/{total}: none done yet")));
        let told = Arc::clone(&status);
        let tell = move || crate::say(&text(&told));
        let ticker = (!stderr().is_terminal()).then(|| Ticker::new(SILENCE, tell));
        Self { bar, began: Instant::now(), steps: [done, total], epochs, status, ticker }
    }

    /// Shows the last step.
    pub fn show(&self, line: &StepLine, samples_per_second: f64) {
        let accuracy =
            line.accuracy.map_or(String::new(), |a| format!("  accuracy {:5.1} %", 100.0 * a));
        let certificate = line.error_estimate();
        let message = format!(
            "epoch {}/{}  loss {:.4}{accuracy}  {samples_per_second:.0} samples/s  \
             certificate {certificate:.1e}",
            line.epoch + 1,
            self.epochs,
            line.loss,
        );
        self.bar.set_position(line.step as u64);
        if self.ticker.is_some() {
            let ([done, total], step) = (self.steps, line.step);
            let left = left(self.began.elapsed(), step - done, total - step);
            let status = format!("step {step}/{total}, {} left  {message}", HumanDuration(left));
            *self.status.lock().expect("no thread panics with it") = status;
        }
        self.bar.set_message(message);
    }

    /// Prints a line above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| crate::say(text));
        if let Some(ticker) = &self.ticker {
            ticker.hear();
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// The time that is left, where all steps take as long as those that were done.
fn left(took: Duration, done: usize, left: usize) -> Duration {
    took.mul_f64(left as f64 / done.max(1) as f64)
}

fn text(status: &Mutex<String>) -> String {
    status.lock().expect("no thread panics with it").clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn silence_is_broken_again_and_again_until_the_work_ends() {
        let (told, heard) = mpsc::channel();
        let ticker = Ticker::new(Duration::from_millis(1), move || {
            let _ = told.send(());
        });
        for _ in 0..3 {
            heard.recv().expect("something is said");
        }
        drop(ticker);
        // What was said before the end may still come; then there is no one left to say anything.
        while heard.try_recv().is_ok() {}
        assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        assert_eq!(left(Duration::from_secs(30), 10, 25), Duration::from_secs(75));
        assert_eq!(left(Duration::from_secs(30), 0, 0), Duration::ZERO);
    }

    #[test]
    fn what_others_say_counts() {
        let (told, heard) = mpsc::channel();
        let ticker = Ticker::new(Duration::from_secs(3600), move || {
            let _ = told.send(());
        });
        ticker.hear();
        drop(ticker);
        assert!(heard.try_recv().is_err(), "nothing was said, and the end was not waited for");
    }
}
