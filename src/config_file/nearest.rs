//! Which known name a wrong one may have meant.

/// The known name that is most like the given one, if any is like it at all: at most one change for each three letters,
/// two for a short name, and never more than half of the name.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance * 2 <= candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be added, removed or replaced to turn one name into the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.chars().enumerate() {
        let mut line = Vec::with_capacity(above.len());
        let mut before = row + 1;
        line.push(before);
        for (other, (diagonal, over)) in right.iter().zip(above.iter().zip(above.iter().skip(1))) {
            before = (diagonal + usize::from(*other != letter))
                .min(over + 1)
                .min(before + 1);
            line.push(before);
        }
        above = line;
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn the_distance_counts_the_letters_that_differ() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("capasity", "capacity"), 1);
    }

    #[test]
    fn a_name_like_none_of_the_known_ones_has_no_nearest() {
        assert_eq!(nearest("zebra", ["capacity", "overflow"]), None);
        assert_eq!(nearest("x", ["min", "max"]), None);
        assert_eq!(nearest("capasity", ["capacity", "overflow"]), Some("capacity"));
    }
}
