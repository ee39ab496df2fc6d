//! Fewer points that draw the same curve.

/// At most `limit` of the points: the first, the last, and each bucket's lowest and highest.
///
/// Peaks and troughs survive, which a mean or every k-th point would lose.
pub fn thin(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    let limit = limit.max(4);
    let [first, inner @ .., last] = points else { return points.to_vec() };
    if points.len() <= limit {
        return points.to_vec();
    }
    let mut kept = vec![*first];
    for bucket in inner.chunks(inner.len().div_ceil(limit / 2 - 1)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let low = bucket.iter().min_by(by_value);
        let high = bucket.iter().max_by(by_value);
        if let (Some(&low), Some(&high)) = (low, high) {
            let (one, other) = if low.0 <= high.0 { (low, high) } else { (high, low) };
            kept.push(one);
            if one != other {
                kept.push(other);
            }
        }
    }
    kept.push(*last);
    kept
}

/// The medians of `count` runs of neighbouring points: the trend of noisy values.
pub fn medians(points: &[(f64, f64)], count: usize) -> Vec<(f64, f64)> {
    let middle = |values: Vec<f64>| values[values.len() / 2];
    let median = |run: &[(f64, f64)]| {
        let mut values: Vec<f64> = run.iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        (middle(run.iter().map(|point| point.0).collect()), middle(values))
    };
    points.chunks(points.len().div_ceil(count.max(1)).max(1)).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(len: usize) -> Vec<(f64, f64)> {
        (0..len).map(|i| (i as f64, ((i * 7919) % 1000) as f64)).collect()
    }

    #[test]
    fn extremes_and_ends_are_kept() {
        let mut points = curve(100_000);
        (points[61_803].1, points[61_804].1) = (1e6, -1e6);
        let kept = thin(&points, 1000);
        assert!(kept.len() <= 1000, "{}", kept.len());
        for index in [0, 61_803, 61_804, 99_999] {
            assert!(kept.contains(&points[index]), "{index}");
        }
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn short_curves_stay_as_they_are() {
        for len in [0, 1, 2, 999, 1000] {
            assert_eq!(thin(&curve(len), 1000), curve(len));
        }
        assert!(thin(&curve(1001), 1000).len() <= 1000);
        assert!(thin(&curve(50), 0).len() <= 4);
    }

    #[test]
    fn an_outlier_does_not_move_the_trend() {
        let noise = |i: usize| [3.0, 4.0, 2.0, -1e9, 1e9][i % 5];
        let points: Vec<_> = (0..1000).map(|i| (i as f64, noise(i + 2))).collect();
        let trend = medians(&points, 100);
        assert_eq!(trend.len(), 100);
        assert!(trend.iter().all(|point| point.1 == 3.0));
        assert!(medians(&[], 100).is_empty());
    }
}
