//! "Did you mean": the nearest of the known words.

/// Longer words are compared by nobody: the table grows with their square.
const LENGTH_MAX: usize = 64;

/// The candidate that a typing mistake would most likely have turned into `word`.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    if word.len() > LENGTH_MAX {
        return None;
    }
    let short = candidates.into_iter().filter(|candidate| candidate.len() <= LENGTH_MAX);
    let measured = short.map(|candidate| {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        (distance(&word, &letters), candidate)
    });
    let likely =
        measured.filter(|(distance, candidate)| *distance <= (candidate.len().min(word.len()) / 3).max(1));
    likely.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `Did you mean "x"?` when one is near, otherwise the known words.
#[must_use]
pub fn cure(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("Did you mean \"{candidate}\"?"),
        None if candidates.is_empty() => "Remove it.".to_owned(),
        None => format!("Known here: {}.", candidates.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{cure, nearest};

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["listen", "routes", "handler"];
        for (typed, meant) in [
            ("lisen", "listen"),
            ("ilsten", "listen"),
            ("Listens", "listen"),
            ("route", "routes"),
            ("hander", "handler"),
        ] {
            assert_eq!(nearest(typed, known), Some(meant), "{typed}");
        }
        assert_eq!(nearest("something", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
        assert_eq!(cure("xy", &["a", "b"]), "Known here: a, b.");
    }
}
