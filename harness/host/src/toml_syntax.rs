// SPDX-License-Identifier: Apache-2.0
//! Messages about text that is not TOML.

/// The beginning of a message of the TOML parser, what it means, and what to do.
const MESSAGES: &[(&str, &str, &str)] = &[
    (
        "string values must be quoted",
        "the value is missing, or is a text without quotes",
        "write `key = \"text\"`",
    ),
    ("missing opening quote", "a quote is missing before the text", "write `key = \"text\"`"),
    ("invalid multi-line basic string", "the text is not closed", "end it with `\"\"\"`"),
    ("invalid multi-line literal string", "the text is not closed", "end it with `'''`"),
    (
        "invalid basic string",
        "the text is not closed",
        "end it with `\"`; texts of several lines begin and end with `\"\"\"`",
    ),
    (
        "invalid literal string",
        "the text is not closed",
        "end it with `'`; texts of several lines begin and end with `'''`",
    ),
    (
        "missing escaped value",
        "a backslash in double quotes must be written twice",
        "use single quotes for texts with backslashes: `'\\d+'`",
    ),
    (
        "too few unicode value digits",
        "a character is written as `\\u` with four digits or `\\U` with eight",
        "use single quotes for texts with backslashes: `'\\d+'`",
    ),
    (
        "unexpected leading zero",
        "a number cannot begin with 0",
        "write a file mode as a text: `mode = \"0644\"`",
    ),
    (
        "duplicate key",
        "the key is given twice",
        "keep one; a list of tables has its name in double brackets, such as `[[step]]`",
    ),
    ("invalid unquoted key", "a key with such a character needs quotes", "write `\"key\" = ..`"),
    ("unquoted keys cannot be empty", "a key is missing before the `=` or the `.`", "write `key = ..`"),
    ("keys cannot be multi-line", "a key cannot have several lines", "write it in one line"),
    ("key with no value", "the key has no value", "write `key = ..`"),
    ("missing value", "the key has no value", "write `key = ..`"),
    ("missing assignment", "a `=` is missing behind the key", "write `key = ..`"),
    ("extra `=`", "there is a `=` too many", "remove it"),
    ("extra assignment", "there is a `=` too many", "remove it"),
    ("unclosed array table", "the name of the table is not closed", "write `[[name]]`"),
    ("unclosed table", "the name of the table is not closed", "write `[name]`"),
    ("unclosed array", "the list is not closed", "end it with `]`"),
    ("unclosed inline table", "the table is not closed", "end it with `}`"),
    ("missing comma between array elements", "a comma is missing in the list", "write `[\"a\", \"b\"]`"),
    (
        "missing comma between key-value pairs",
        "a comma is missing in the table",
        "write `{ a = \"x\", b = \"y\" }`",
    ),
    ("extra comma", "there is a comma too many", "remove it"),
    ("unexpected key or value", "the line goes on after the value", "write each key in a line of its own"),
    ("unexpected content", "the line goes on after the value", "write each key in a line of its own"),
    (
        "invalid inline table element",
        "the table contains something that is not `key = value`",
        "write `{ a = \"x\" }`",
    ),
    ("missing key for inline table element", "a key is missing in the table", "write `{ a = \"x\" }`"),
    ("invalid key-value pair", "the line is not `key = value`", "write `key = ..`"),
    ("invalid boolean", "the value is neither `true` nor `false`", "write a text in quotes"),
    ("invalid date-time", "the value is not a date or time", "write a text in quotes"),
    ("invalid float", "the value is not a number", "write a text in quotes"),
    ("invalid integer", "the value is not a number", "write a text in quotes"),
    ("invalid value", "the value cannot be read", "write a text in quotes"),
    ("cannot recurse", "lists or tables contain each other too deeply", "use fewer brackets"),
    ("recursion limit", "lists or tables contain each other too deeply", "use fewer brackets"),
];

/// The cause and the hint for a message of the TOML parser.
pub fn explain_syntax(message: &str) -> (String, Option<String>) {
    let message = message.trim();
    match MESSAGES.iter().find(|(beginning, ..)| message.starts_with(beginning)) {
        Some((_, cause, hint)) => ((*cause).to_owned(), Some((*hint).to_owned())),
        None => (message.replace('\n', "; "), None),
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    #[test]
    fn frequent_mistakes_have_a_message_of_their_own() {
        for (text, cause) in [
            ("a = x", "the value is missing, or is a text without quotes"),
            ("a = \"x", "the text is not closed"),
            ("a = \"\"\"x", "the text is not closed"),
            ("a = 'x", "the text is not closed"),
            ("a = \"\\d+\"", "a backslash in double quotes must be written twice"),
            ("a = 0644", "a number cannot begin with 0"),
            ("a = 1\na = 2", "the key is given twice"),
            ("a = [1, 2", "the list is not closed"),
            ("a = [\"b\" \"c\"]", "a comma is missing in the list"),
            ("a = { b = 1", "the table is not closed"),
            ("[[a]", "the name of the table is not closed"),
            ("[a", "the name of the table is not closed"),
            ("a = ", "the value is missing, or is a text without quotes"),
            ("a", "the key has no value"),
            ("a = 1 b = 2", "the line goes on after the value"),
        ] {
            let (_, errors) = DeTable::parse_recoverable(text);
            let first = errors.first().expect(text).message();
            let (found, hint) = explain_syntax(first);
            assert_eq!(found, cause, "{text}: {first}");
            assert!(hint.is_some(), "{text}");
        }
    }
}
