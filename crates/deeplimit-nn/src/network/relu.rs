//! relu where it stands between flows. What is not a number stays none.

/// max(x, 0).
pub(super) fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

/// relu of all, in place.
pub(super) fn rectify(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = relu(*value));
}

/// Pulls a cotangent back through relu, given its arguments or its values.
pub(super) fn before_relu(x: &[f32], bar: &mut [f32]) {
    let pairs = bar.iter_mut().zip(x);
    pairs.filter(|(_, x)| relu(**x) == 0.0).for_each(|(bar, _)| *bar = 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_stays_none_and_has_a_cotangent() {
        let x = [-1.0, 0.0, 2.0, f32::NAN];
        let mut values = x;
        rectify(&mut values);
        assert!(values[..3] == [0.0, 0.0, 2.0] && values[3].is_nan());
        for known in [x, values] {
            let mut bar = [1.0; 4];
            before_relu(&known, &mut bar);
            assert_eq!(bar, [0.0, 0.0, 1.0, 1.0]);
        }
    }
}
