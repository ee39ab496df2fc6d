//! States of the CPU fields: samples side by side.

use crate::kernel::{Buffer, sums, transpose, vector};
use crate::{Bytes, Heap, Real, State};
use std::ops::Range;

/// A matrix `[rows, width]`; a row is one sample.
///
/// Images are rows of `channels · height · width` numbers, channel first. In memory the matrix lies
/// column by column, so that samples fill the lanes of vector registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<R> {
    rows: usize,
    width: usize,
    columns: Buffer<R>,
}

impl<R: Real> Rows<R> {
    /// The rows that `data`, of length `rows · width`, holds one after the other.
    ///
    /// # Panics
    /// If the length of `data` is not `rows · width`.
    pub fn new(rows: usize, width: usize, data: &[R]) -> Self {
        assert_eq!(
            data.len(),
            rows * width,
            "{rows} rows of width {width} need {} numbers",
            rows * width
        );
        let mut columns = Buffer::zeros(rows * width);
        transpose(data, width, &mut columns, rows, width);
        Self { rows, width, columns }
    }

    /// All zeros.
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self { rows, width, columns: Buffer::zeros(rows * width) }
    }

    /// Entries given by (row, column).
    pub fn from_fn(rows: usize, width: usize, f: impl Fn(usize, usize) -> R) -> Self {
        let columns = (0..rows * width).map(|i| f(i % rows, i / rows)).collect();
        Self { rows, width, columns }
    }

    /// Number of samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, column by column: `[width, rows]`.
    pub fn columns(&self) -> &[R] {
        &self.columns
    }

    /// All numbers, column by column: `[width, rows]`.
    pub fn columns_mut(&mut self) -> &mut [R] {
        &mut self.columns
    }

    /// All numbers, row by row.
    pub fn to_vec(&self) -> Vec<R> {
        let mut data = vec![R::zero(); self.columns.len()];
        transpose(&self.columns, self.rows, &mut data, self.width, self.rows);
        data
    }

    /// One number.
    pub fn at(&self, row: usize, column: usize) -> R {
        self.columns[column * self.rows + row]
    }

    /// One sample.
    pub fn row(&self, row: usize) -> Vec<R> {
        (0..self.width).map(|column| self.at(row, column)).collect()
    }

    /// Rounds or widens every entry.
    pub fn cast<S: Real>(&self) -> Rows<S> {
        let columns = self.columns.iter().map(|v| S::of(v.wide())).collect();
        Rows { rows: self.rows, width: self.width, columns }
    }
}

impl<R> Bytes for Rows<R> {
    fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.columns[..])
    }
}

impl<R> Heap for Rows<R> {
    fn heap(&self) -> usize {
        self.columns.heap()
    }
}

impl<R: Real> Rows<R> {
    /// Some of the numbers of [`State::set_combination`].
    fn combine_part(&mut self, part: Range<usize>, x: &Self, factor: f64, terms: &[(f64, &Self)]) {
        let weight = |term: f64| R::of(factor * term);
        let (out, x) = (&mut self.columns[part.clone()], &x.columns[part.clone()]);
        match terms {
            [] => out.copy_from_slice(x),
            [(first, y)] => vector::set_sum(out, x, weight(*first), &y.columns[part]),
            [(first, y), (second, z), rest @ ..] => {
                let [y, z] = [y, z].map(|term| &term.columns[part.clone()]);
                vector::set_sum_of_two(out, x, [(weight(*first), y), (weight(*second), z)]);
                for (term, y) in rest {
                    vector::add_scaled(out, weight(*term), &y.columns[part.clone()]);
                }
            }
        }
    }
}

impl<R: Real> State for Rows<R> {
    fn scratch(&self) -> Self {
        Self::zeros(self.rows, self.width)
    }

    fn samples(&self) -> usize {
        self.rows
    }

    fn copy_from(&mut self, x: &Self) {
        self.columns.copy_from_slice(&x.columns);
    }

    fn set_zero(&mut self) {
        self.columns.fill(R::zero());
    }

    fn scale(&mut self, factor: f64) {
        vector::scale(&mut self.columns, R::of(factor));
    }

    fn set_scaled(&mut self, factor: f64, x: &Self) {
        vector::set_scaled(&mut self.columns, R::of(factor), &x.columns);
    }

    fn add_scaled(&mut self, factor: f64, x: &Self) {
        vector::add_scaled(&mut self.columns, R::of(factor), &x.columns);
    }

    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self) {
        vector::set_sum(&mut self.columns, &x.columns, R::of(factor), &y.columns);
    }

    fn add_to(&mut self, factor: f64, x: &Self) {
        vector::add_to(&mut self.columns, R::of(factor), &x.columns);
    }

    fn set_combination(&mut self, x: &Self, factor: f64, terms: &[(f64, &Self)]) {
        self.combine_part(0..self.columns.len(), x, factor, terms);
    }

    fn step_and_measure(&mut self, factor: f64, x: &Self, other: &Self) -> [f64; 2] {
        sums::step_and_measure(&mut self.columns, R::of(factor), &x.columns, &other.columns)
    }

    /// Stretch by stretch: what is read twice stays in the fastest cache.
    fn step_measure_and_combine(
        &mut self,
        factor: f64,
        x: &Self,
        other: &Self,
        out: &mut Self,
        terms: &[(f64, &Self)],
    ) -> [f64; 2] {
        const STRETCH: usize = 2048;
        let (mut norms, length) = ([0.0; 2], self.columns.len());
        for start in (0..length).step_by(STRETCH) {
            let part = start..(start + STRETCH).min(length);
            let here = &mut self.columns[part.clone()];
            let (x, other) = (&x.columns[part.clone()], &other.columns[part.clone()]);
            let [size, distance] = sums::step_and_measure(here, R::of(factor), x, other);
            norms = [norms[0] + size, norms[1] + distance];
            out.combine_part(part, self, factor, terms);
        }
        norms
    }

    fn defect_squared(&self, factor: f64, x: &Self, other: &Self) -> f64 {
        sums::defect_squared(&self.columns, R::of(factor), &x.columns, &other.columns)
    }

    fn dot(&self, other: &Self) -> f64 {
        sums::dot(&self.columns, &other.columns)
    }

    fn distance_squared(&self, other: &Self) -> f64 {
        sums::distance_squared(&self.columns, &other.columns)
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        let mut columns = Buffer::zeros(count * self.width);
        let from = self.columns.chunks_exact(self.rows.max(1));
        for (column, from) in columns.chunks_exact_mut(count.max(1)).zip(from) {
            column.copy_from_slice(&from[start..start + count]);
        }
        Self { rows: count, width: self.width, columns }
    }

    fn join(mut tiles: Vec<Self>) -> Self {
        if tiles.len() == 1 {
            return tiles.remove(0);
        }
        let rows: usize = tiles.iter().map(|tile| tile.rows).sum();
        let width = tiles.first().map_or(0, |tile| tile.width);
        let mut columns = Buffer::zeros(rows * width);
        for (index, mut column) in columns.chunks_exact_mut(rows.max(1)).enumerate() {
            for tile in &tiles {
                let (part, rest) = column.split_at_mut(tile.rows);
                part.copy_from_slice(&tile.columns[index * tile.rows..][..tile.rows]);
                column = rest;
            }
        }
        Self { rows, width, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_join_to_the_rows_they_were_cut_from() {
        let x = Rows::from_fn(7, 3, |row, column| (row * 3 + column) as f64);
        let tiles = vec![x.slice(0, 3), x.slice(3, 3), x.slice(6, 1)];
        assert_eq!(Rows::join(tiles), x);
    }

    #[test]
    fn what_is_done_in_one_pass_is_what_two_passes_do() {
        for (rows, width) in [(3, 5), (16, 128), (37, 111)] {
            let state = |seed: usize| {
                Rows::from_fn(rows, width, |i, j| ((i * width + j + seed) as f64 * 0.7).sin())
            };
            let (x, other, deeper) = (state(1), state(2), state(3));
            let three = [(3.0, &x), (-3.0, &deeper), (1.0, &other)];
            for terms in [&three[..0], &three[..1], &three[..2], &three] {
                let (mut one, mut two) = (state(4), state(4));
                let (mut found, mut expected) = (x.scratch(), x.scratch());
                let norms = one.step_measure_and_combine(-0.1, &x, &other, &mut found, terms);
                let [size, distance] = two.step_and_measure(-0.1, &x, &other);
                expected.set_combination(&two, -0.1, terms);
                assert_eq!((one, found), (two, expected));
                assert!((norms[0] - size).abs() < 1e-12 * size);
                assert!((norms[1] - distance).abs() < 1e-12 * distance);
            }
        }
    }

    #[test]
    fn rows_go_in_and_come_out_row_by_row() {
        let data: Vec<f32> = (0..21).map(|i| i as f32).collect();
        let x = Rows::new(7, 3, &data);
        assert_eq!(x, Rows::from_fn(7, 3, |row, column| (row * 3 + column) as f32));
        assert_eq!(x.to_vec(), data);
        assert_eq!(x.row(2), [6.0, 7.0, 8.0]);
    }
}
