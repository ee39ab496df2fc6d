//! A sweep over depths as a table.

use super::{Sweep, Trained};
use std::fmt;

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weights, step, part, samples, .. } = self;
        writeln!(f, "{} after {step} steps; {samples} {part} samples", weights.display())?;
        for (index, flow) in self.flows.iter().enumerate() {
            let Trained { depth, scheme, basis, without_limit } = flow;
            let control = match basis {
                Some(basis) => format!("a control of {basis}"),
                None => "a value at every node, interpolated at other depths".to_owned(),
            };
            writeln!(f, "flow {index}: trained with {depth} {scheme} steps; {control}")?;
            if let Some(reason) = without_limit {
                writeln!(f, "flow {index} has no deep limit: its weights {reason}")?;
            }
        }
        let one = self.flows.len() == 1;
        let heads: Vec<String> = (0..self.flows.len())
            .map(|flow| if one { "state".into() } else { format!("flow {flow}") })
            .chain(["outputs".to_owned()])
            .map(|what| format!("{what} to limit"))
            .collect();
        write!(f, "{:>6}  {:>9}  {:>8}", "depth", "accuracy", "loss")?;
        if self.tolerance.is_some() {
            heads.iter().try_for_each(|head| write!(f, "  {head:>16}"))?;
        }
        write!(f, "  {:>12}", "milliseconds")?;
        for row in &self.depths {
            let accuracy = row.accuracy.map_or("-".to_owned(), |a| format!("{:.2} %", 100.0 * a));
            write!(f, "\n{:>6}  {accuracy:>9}  {:>8.4}", row.depth, row.loss)?;
            if self.tolerance.is_some() {
                let states = row.states.iter().flatten().chain(&row.outputs);
                let mut told: Vec<String> = states.map(|state| format!("{state:.1e}")).collect();
                told.resize(heads.len(), "-".to_owned());
                told.iter().try_for_each(|told| write!(f, "  {told:>16}"))?;
            }
            write!(f, "  {:>12.0}", row.milliseconds)?;
        }
        let limit = self.depths.iter().find_map(|row| row.evaluations.as_ref());
        if let (Some(tolerance), Some(evaluations)) = (self.tolerance, limit) {
            let evaluations: Vec<String> = evaluations.iter().map(usize::to_string).collect();
            write!(
                f,
                "\nlimit: solved by Dormand and Prince to {tolerance:e} a step, in double precision, \
                 with {} evaluations",
                evaluations.join(" + ")
            )?;
        }
        Ok(())
    }
}
