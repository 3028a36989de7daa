//! HTML that cannot be broken out of: names of elements and attributes, and all values of attributes, are literals of this program; what
//! comes from elsewhere gets in as text, escaped.

/// A piece of a page under construction.
#[derive(Debug, Default)]
pub struct Html(String);

/// Attributes of an element, all of them literals.
pub type Attributes = &'static [(&'static str, &'static str)];

impl Html {
    /// A whole page. `head` and `body` fill its two parts.
    pub fn page(head: impl FnOnce(&mut Self), body: impl FnOnce(&mut Self)) -> String {
        let mut html = Self(String::from("<!DOCTYPE html>\n"));
        html.element("html", &[("lang", "en")], |html| {
            html.element("head", &[], head);
            html.element("body", &[], body);
        });
        html.0.push('\n');
        html.0
    }

    /// An element and what is in it.
    pub fn element(&mut self, name: &'static str, attributes: Attributes, inner: impl FnOnce(&mut Self)) {
        self.open(name, attributes);
        inner(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element with nothing in it (HTML, section 13.1.2, void elements).
    pub fn void(&mut self, name: &'static str, attributes: Attributes) {
        self.open(name, attributes);
    }

    /// An element with text in it.
    pub fn leaf(&mut self, name: &'static str, attributes: Attributes, text: &str) {
        self.element(name, attributes, |html| html.text(text));
    }

    /// Text, whatever it holds. Letters that would turn around or hide what stands beside them are shown as a mark.
    pub fn text(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter if is_deceptive(letter) => self.0.push('\u{fffd}'),
                letter => self.0.push(letter),
            }
        }
    }

    fn open(&mut self, name: &'static str, attributes: Attributes) {
        self.0.push('<');
        self.0.push_str(name);
        for (attribute, value) in attributes {
            self.0.push(' ');
            self.0.push_str(attribute);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }
}

/// Control characters but for line ends, and those that change the direction of writing or take no room.
fn is_deceptive(letter: char) -> bool {
    (letter.is_control() && letter != '\n')
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(text: &str) -> String {
        let mut html = Html::default();
        html.leaf("p", &[("class", "a")], text);
        html.0
    }

    #[test]
    fn text_stays_text() {
        for (text, expected) in [
            ("</p><script>alert(1)</script>", "&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\u{202e}b\u{0}c\u{1b}[2Jd\u{200b}", "a\u{fffd}b\u{fffd}c\u{fffd}[2Jd\u{fffd}"),
            ("machine-ä 日本", "machine-ä 日本"),
        ] {
            assert_eq!(leaf(text), format!("<p class=\"a\">{expected}</p>"));
        }
    }

    #[test]
    fn a_page_has_its_parts() {
        let page = Html::page(|head| head.leaf("title", &[], "<x>"), |body| body.void("br", &[]));
        let expected = "<html lang=\"en\"><head><title>&lt;x&gt;</title></head><body><br></body></html>";
        assert_eq!(page, format!("<!DOCTYPE html>\n{expected}\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_an_element_or_ends_an_attribute(text in "[<>&\"'/=a-z \u{0}-\u{1f}\u{202e}]{0,60}") {
            let inner = leaf(&text);
            let inner = inner.strip_prefix("<p class=\"a\">").and_then(|rest| rest.strip_suffix("</p>"));
            prop_assert!(inner.is_some_and(|inner| !inner.contains(['<', '>', '"', '\''])));
        }
    }
}
