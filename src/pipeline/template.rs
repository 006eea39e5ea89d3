//! Strings with variables, compiled once: `"$scheme://$host"` becomes a list of parts.

use super::exchange::Exchange;
use super::variable::Variable;

/// A compiled string.
#[derive(Clone, Default)]
pub struct Template {
    parts: Box<[Part]>,
}

/// One part of it.
#[derive(Clone)]
pub enum Part {
    /// Literal bytes.
    Text(Box<[u8]>),
    /// A variable's value.
    Variable(Variable),
}

impl Template {
    /// From its parts.
    pub fn new(parts: Vec<Part>) -> Template {
        Template { parts: parts.into_boxed_slice() }
    }

    /// A string without variables.
    pub fn literal(text: impl Into<Vec<u8>>) -> Template {
        let text: Vec<u8> = text.into();
        if text.is_empty() {
            return Template::default();
        }
        Template::new(vec![Part::Text(text.into_boxed_slice())])
    }

    /// The string itself, when no variable is in it.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The parts, for those who treat variables specially (logs escape them).
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether one of its variables is one that `is` looks for.
    pub fn holds(&self, is: &dyn Fn(&Variable) -> bool) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(variable) if is(variable)))
    }

    /// Appends the string's value for this request. A variable without a value is empty.
    #[inline]
    pub fn write(&self, x: &Exchange, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    variable.write(x, out);
                }
            }
        }
    }

    /// The string's value in memory of its own.
    pub fn value(&self, x: &Exchange) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(x, &mut out);
        out
    }
}
