//! What the arguments of a directive must be where its spec alone says it: those of a directive that is
//! accepted without effect have nobody else to look at them.

use super::value;

/// Characters in the name of a temporary file, which the levels of its folders take theirs from.
const TEMP_NAME_CHARACTERS: u64 = 10;

/// What the arguments of a directive are. A wrong one is refused with nginx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Anything, or what the feature says of them.
    Any,
    /// A number.
    Number,
    /// Bytes, with nginx's units.
    Size,
    /// Bytes of a file, which may be gigabytes.
    Offset,
    /// The same, or this word.
    OffsetOr(&'static str),
    /// A time.
    Time,
    /// A number of buffers and their size.
    Buffers,
    /// A folder, and for each level of folders in it how many characters name them.
    TempPath,
    /// One of these words; one that ends with `=` goes on with anything.
    OneOf(&'static [&'static str]),
}

impl Values {
    /// What is wrong with these arguments.
    pub fn fault(self, name: &str, args: &[&str]) -> Option<String> {
        let all = |valid: fn(&str) -> bool| args.iter().all(|text| valid(text));
        let valid = match self {
            Values::Any => true,
            Values::Number => all(|text| value::number(text).is_some()),
            Values::Size => all(|text| value::size(text).is_some()),
            Values::Offset => all(|text| value::offset(text).is_some()),
            Values::OffsetOr(word) => args.iter().all(|text| *text == word || value::offset(text).is_some()),
            Values::Time => all(|text| value::time_ms(text).is_some()),
            Values::Buffers => {
                let positive = |number: Option<u64>| number.is_some_and(|number| number > 0);
                matches!(args, [count, bytes] if positive(value::number(count)) && positive(value::size(bytes)))
            }
            Values::TempPath => {
                let levels: Vec<u64> =
                    args.iter().skip(1).map(|text| value::number(text).unwrap_or(0)).collect();
                levels.iter().all(|&level| level > 0)
                    && levels.iter().fold(0, |sum: u64, &level| sum.saturating_add(level))
                        <= TEMP_NAME_CHARACTERS
            }
            Values::OneOf(words) => args.iter().all(|text| {
                words.iter().any(|word| text == word || word.ends_with('=') && text.starts_with(word))
            }),
        };
        let what = if self == Values::Number { "number" } else { "value" };
        (!valid).then(|| format!("\"{name}\" directive invalid {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let wrong = |values: Values, text: &str| {
            let args: Vec<&str> = text.split(' ').collect();
            values.fault("x", &args).unwrap_or_default()
        };
        let (value, number) = ("\"x\" directive invalid value", "\"x\" directive invalid number");
        for (values, right, faulty, want) in [
            (Values::Any, "what ever", "", ""),
            (Values::Number, "12", "12k", number),
            (Values::Size, "12k", "12g", value),
            (Values::OffsetOr("off"), "2g", "on", value),
            (Values::OffsetOr("off"), "off", "1x", value),
            (Values::Time, "1m", "1x", value),
            (Values::Buffers, "4 8k", "0 8k", value),
            (Values::Buffers, "4 8k", "4 x", value),
            (Values::TempPath, "/x 1 2", "/x 1 0", value),
            (Values::TempPath, "/x 5 5", "/x 5 5 1", value),
            (Values::TempPath, "/x", "/x a", value),
            (Values::OneOf(&["on", "to="]), "to=x", "ON", value),
        ] {
            assert_eq!((wrong(values, right), wrong(values, faulty)), (String::new(), want.to_owned()));
        }
    }
}
