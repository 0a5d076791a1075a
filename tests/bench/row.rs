//! One row of the table: sides measured in turns, their medians, and what is aimed at.

use std::fmt;

use serde_json::{Value, json};

/// One measurement of one side, in the row's unit.
pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

/// Something that is compared.
pub(crate) struct Side<'a> {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Measures it once.
    pub(crate) measure: Measure<'a>,
}

impl<'a> Side<'a> {
    /// A side.
    pub(crate) fn new(
        name: &'static str,
        measure: impl FnMut() -> Result<f64, String> + 'a,
    ) -> Self {
        Self { name, measure: Box::new(measure) }
    }
}

/// What the first side should keep to.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// At most this many times another side.
    Ratio {
        /// The other side's name.
        to: &'static str,
        /// The most.
        most: f64,
    },
    /// At least this many times another side, where more is better.
    AtLeast {
        /// The other side's name.
        to: &'static str,
        /// The least.
        least: f64,
    },
    /// At most this much, in the row's unit.
    Absolute(f64),
}

/// What came out.
pub(crate) struct Row {
    title: String,
    unit: &'static str,
    results: Vec<(&'static str, Result<f64, String>)>,
    aims: Vec<Aim>,
}

impl Row {
    /// Measures the sides in turns, `rounds` times each after a first time that is thrown away. The
    /// first side is the one that aims are about. A side that fails is left out, and says why.
    pub(crate) fn compare(
        title: impl Into<String>,
        unit: &'static str,
        rounds: usize,
        mut sides: Vec<Side>,
        aims: &[Aim],
    ) -> Self {
        let mut samples: Vec<Result<Vec<f64>, String>> =
            sides.iter_mut().map(|side| (side.measure)().map(|_| Vec::new())).collect();
        for round in 0..rounds {
            // Who comes first changes, so that nobody always follows the same neighbour.
            for turn in 0..sides.len() {
                let at = (round + turn) % sides.len();
                if let Ok(list) = &mut samples[at] {
                    match (sides[at].measure)() {
                        Ok(value) => list.push(value),
                        Err(text) => samples[at] = Err(text),
                    }
                }
            }
        }
        let medians = samples.into_iter().map(|sample| sample.map(median));
        let results = sides.iter().map(|side| side.name).zip(medians).collect();
        Self { title: title.into(), unit, results, aims: aims.to_vec() }
    }

    /// A value that needs no repetition.
    pub(crate) fn single(
        title: &str,
        unit: &'static str,
        value: Result<f64, String>,
        most: f64,
    ) -> Self {
        let aims = vec![Aim::Absolute(most)];
        Self { title: title.to_owned(), unit, results: vec![("bryo", value)], aims }
    }

    fn value(&self, side: &str) -> Option<f64> {
        self.results.iter().find(|(name, _)| *name == side)?.1.as_ref().ok().copied()
    }

    fn first(&self) -> Option<f64> {
        self.results.first()?.1.as_ref().ok().copied()
    }

    /// Aims that were not kept, each as a sentence. That bryo could not be measured is one; that
    /// another tool could not is not.
    pub(crate) fn missed(&self) -> Vec<String> {
        let Some(own) = self.first() else {
            return vec![format!("{}: could not be measured", self.title)];
        };
        self.aims
            .iter()
            .filter_map(|aim| match *aim {
                Aim::Ratio { to, most } => {
                    let ratio = own / self.value(to)?;
                    (ratio > most)
                        .then(|| format!("{}: {ratio:.2} × {to}, at most {most:.2} ×", self.title))
                }
                Aim::AtLeast { to, least } => {
                    let ratio = own / self.value(to)?;
                    (ratio < least).then(|| {
                        format!("{}: {ratio:.2} × {to}, at least {least:.2} ×", self.title)
                    })
                }
                Aim::Absolute(most) => (own > most)
                    .then(|| format!("{}: {own:.2} {}, at most {most:.2}", self.title, self.unit)),
            })
            .collect()
    }

    /// For `--json`.
    pub(crate) fn json(&self) -> Value {
        let sides: Vec<Value> = self
            .results
            .iter()
            .map(|(name, result)| match result {
                Ok(value) => {
                    json!({ "name": name, "median": value, "ratio": self.ratio_to(*value) })
                }
                Err(text) => json!({ "name": name, "not_measured": text }),
            })
            .collect();
        json!({ "row": self.title, "unit": self.unit, "sides": sides, "missed": self.missed() })
    }

    /// How many times another side's value the first one is.
    fn ratio_to(&self, other: f64) -> Option<f64> {
        self.first().map(|own| own / other).filter(|ratio| ratio.is_finite())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        for (at, (name, result)) in self.results.iter().enumerate() {
            match result {
                Ok(value) => write!(f, "  {name:<28} {value:>12.2} {}", self.unit)?,
                Err(text) => write!(f, "  {name:<28} not measured: {text}")?,
            }
            let ratio = result.as_ref().ok().and_then(|value| self.ratio_to(*value));
            if let (1.., Some(ratio)) = (at, ratio) {
                write!(f, "   bryo is {ratio:.2} ×")?;
            }
            for aim in &self.aims {
                match aim {
                    Aim::Ratio { to, most } if to == name => write!(f, "  (aim: {most:.2} ×)")?,
                    Aim::AtLeast { to, least } if to == name => {
                        write!(f, "  (aim: at least {least:.2} ×)")?;
                    }
                    Aim::Absolute(most) if at == 0 => write!(f, "  (aim: {most:.2})")?,
                    _ => {}
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
