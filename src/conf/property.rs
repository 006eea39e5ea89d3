//! What holds for every text: reading never panics, and a printed tree reads back as itself.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::testing;
use super::{Directive, Place, Sources, Tree, Word};

/// A tree as nested names and arguments, without places.
fn bare(directives: &[Directive]) -> Vec<String> {
    let word = |word: &Word| format!("{:?}{}", word.text, word.quoted);
    directives
        .iter()
        .map(|d| {
            let args: Vec<String> = d.args.iter().map(word).collect();
            format!("{} {args:?} {:?}", word(&d.name), d.block.as_ref().map(|b| bare(b)))
        })
        .collect()
}

/// Texts made of what the lexer looks at.
fn conf_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b1",
        " ",
        "\n",
        "\t",
        "\r\n",
        ";",
        ";",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "$",
        "${",
        "#",
        ")",
        "\\n",
        "\\\"",
        "\\\\",
        "\u{e9}",
        "x y;",
        "s { t; }",
        "'q ;' ",
        "\"d\\\"\" ",
        "(",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Trees with words of any text, as far as a word can have it.
fn directives() -> impl Strategy<Value = Vec<Directive>> {
    let place = Place { file: 0, line: 1, column: 1 };
    let plain = "[a-z(][a-z0-9\"'#}(_.\\\\$\t\n\u{e9}/]{0,8}[a-z0-9]".prop_map(move |text| Word {
        text,
        place,
        quoted: false,
    });
    let quoted = "[ -~\n\t\r\u{e9}\u{4e2d}]{0,12}".prop_map(move |text| Word { text, place, quoted: true });
    let word =
        prop_oneof![plain, quoted].prop_filter("the language's own", |word| word.text != "include").boxed();
    let words = prop::collection::vec(word, 1..5);
    let make = move |(mut words, block): (Vec<Word>, Option<Vec<Directive>>)| {
        let args = words.split_off(1);
        Directive { name: words.remove(0), args, block, place }
    };
    let leaf = words.clone().prop_map(move |words| make((words, None)));
    let one = leaf.prop_recursive(3, 24, 4, move |inner| {
        let block = prop::option::of(prop::collection::vec(inner, 0..4));
        (words.clone(), block).prop_map(make)
    });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = testing::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_was_read_prints_and_reads_back(text in conf_text()) {
        match testing::parse(text.as_bytes()) {
            Ok(tree) => {
                let again = testing::parse(tree.to_string().as_bytes());
                prop_assert_eq!(bare(&again.unwrap().directives), bare(&tree.directives), "{}", tree);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        let _ = testing::load(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn what_is_printed_reads_back(directives in directives()) {
        let tree = Tree { directives, sources: Sources::default() };
        let again = testing::parse(tree.to_string().as_bytes());
        prop_assert_eq!(bare(&again.unwrap().directives), bare(&tree.directives), "{}", tree);
    }
}
