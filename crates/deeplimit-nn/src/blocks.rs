//! Any Burn module as the residual function of a flow, on any Burn device.
//!
//! Linearising builds the autodiff graph of one block, pulling back runs it. A user's own block
//! therefore trains memory-free unchanged.

use crate::TensorState;
use crate::gradients::{self, Flat};
use burn::module::{Module, ModuleVisitor};
use burn::tensor::Tensor;
use deeplimit::control::Position;
use deeplimit::gradient::Due;
use deeplimit::{Bytes, Field, State};
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A Burn module that can be a residual function: its output has the shape of its input.
///
/// `D` is the rank of the state, the samples' dimension included.
pub trait Residual<const D: usize>: Module + Sync + 'static {
    /// f(x, θ), with the shape of x.
    fn forward(&self, x: Tensor<D>) -> Tensor<D>;
}

/// Why modules cannot be the blocks of a flow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// There is no block.
    #[error("a flow needs at least one block, found none")]
    Empty,
    /// A block changes its own state when it is evaluated.
    #[error(
        "block {block} contains a {module}: reconstruction evaluates a block several times a \
         step, and each time its running statistics would move; use LayerNorm, GroupNorm or \
         InstanceNorm instead"
    )]
    MovingStatistics {
        /// Index of the block.
        block: usize,
        /// The module's type.
        module: String,
    },
    /// Two evaluations of a block at the same state differ.
    #[error(
        "block {block} is random: two evaluations at the same state differ by {difference:.1e}; \
         reconstruction needs a block that gives the same output each time (leave out dropout)"
    )]
    Random {
        /// Index of the block.
        block: usize,
        /// Largest difference between the two outputs.
        difference: f64,
    },
    /// A block's output is not finite.
    #[error("block {block} gives NaN or infinite numbers on the state it was checked on")]
    NotFinite {
        /// Index of the block.
        block: usize,
    },
    /// A block changes the shape of the state.
    #[error("block {block} turns a state of shape {from:?} into {to:?}; a residual needs the same")]
    Shape {
        /// Index of the block.
        block: usize,
        /// Shape of the state.
        from: Vec<usize>,
        /// Shape of the block's output.
        to: Vec<usize>,
    },
}

/// The blocks of a flow as a field: control node n is block n.
///
/// Their kinks cannot be seen from outside: with relu in a block the certificate has no kink
/// exposure, and the gradient error can be many times what it estimates.
///
/// A scheme that reads the control between nodes gets blocks with linearly interpolated
/// parameters.
///
/// A block is linearised with its parameters as leaves of their own: that happens while a graph that its
/// parameters may be part of is being walked back.
pub struct Blocks<M, const D: usize> {
    blocks: Vec<M>,
    plain: Vec<M>,
}

impl<M: Residual<D>, const D: usize> Blocks<M, D> {
    /// Takes blocks whose parameters live on an autodiff device, and checks on the state
    /// `example` that they can be recomputed.
    ///
    /// # Errors
    /// If there is no block, or one changes the state's shape, is random, or keeps running
    /// statistics.
    pub fn new(blocks: Vec<M>, example: &Tensor<D>) -> Result<Self, BlockError> {
        if blocks.is_empty() {
            return Err(BlockError::Empty);
        }
        let example = example.clone().inner();
        for (block, module) in blocks.iter().enumerate() {
            if let Some(module) = moving_statistics(module) {
                return Err(BlockError::MovingStatistics { block, module });
            }
            let module = gradients::apart(module.clone());
            let out = || module.forward(Tensor::from_inner(example.clone())).inner();
            let first = out();
            if first.dims() != example.dims() {
                let (from, to) = (example.dims().to_vec(), first.dims().to_vec());
                return Err(BlockError::Shape { block, from, to });
            }
            let difference = out().sub(first).abs().max().into_scalar::<f32>();
            if !difference.is_finite() {
                return Err(BlockError::NotFinite { block });
            }
            if difference != 0.0 {
                return Err(BlockError::Random { block, difference: difference.into() });
            }
        }
        Ok(Self::trusted(blocks))
    }

    /// Takes blocks that have been checked before, such as in an earlier training step.
    pub fn trusted(blocks: Vec<M>) -> Self {
        let plain = blocks.iter().map(M::valid).collect();
        Self { blocks, plain }
    }

    /// The blocks.
    pub fn blocks(&self) -> &[M] {
        &self.blocks
    }

    fn at<'b>(blocks: &'b [M], position: Position) -> Cow<'b, M> {
        let Position { node, fraction } = position;
        if fraction == 0.0 {
            return Cow::Borrowed(&blocks[node]);
        }
        Cow::Owned(gradients::blend(&blocks[node], &blocks[node + 1], fraction))
    }
}

/// The type of a submodule that keeps running statistics, if there is one.
fn moving_statistics<M: Module>(module: &M) -> Option<String> {
    #[derive(Default)]
    struct Finder(Option<String>);
    impl ModuleVisitor for Finder {
        fn enter_module(&mut self, _name: &str, container: &str) {
            if container.ends_with("BatchNorm") {
                self.0 = Some(container.trim_start_matches("Struct:").to_owned());
            }
        }
    }
    let mut finder = Finder::default();
    module.visit(&mut finder);
    finder.0
}

/// The graph of one evaluation: the block it ran, its input leaf and its output.
pub struct Graph<M, const D: usize> {
    block: M,
    input: Tensor<D>,
    output: Tensor<D>,
}

/// ∂loss/∂θ for all blocks, or for some neighbours.
pub struct BlockGradients {
    pub(crate) blocks: Vec<Mutex<Flat>>,
    /// The first block.
    first: usize,
}

impl BlockGradients {
    fn zeros(blocks: usize, first: usize) -> Self {
        Self { blocks: (0..blocks).map(|_| Mutex::new(Vec::new())).collect(), first }
    }

    fn block(&self, block: usize) -> MutexGuard<'_, Flat> {
        self.blocks[block - self.first].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Residual<D>, const D: usize> Field for Blocks<M, D> {
    const SINGLE_PRECISION: bool = true;
    type State = TensorState<D>;
    type Tape = Option<Graph<M, D>>;
    type Gradient = BlockGradients;
    type Sink<'g> = &'g BlockGradients;

    fn nodes(&self) -> usize {
        self.blocks.len()
    }

    fn tape(&self, _like: &TensorState<D>) -> Self::Tape {
        None
    }

    /// Input and output of the block: what lies between them belongs to Burn's graph, whose size
    /// Burn does not tell.
    fn tape_bytes(&self, tape: &Self::Tape) -> usize {
        let bytes = |x: &Tensor<D>| TensorState(x.clone()).bytes();
        tape.as_ref().map_or(0, |graph| bytes(&graph.input) + bytes(&graph.output))
    }

    fn eval(
        &self,
        position: Position,
        x: &TensorState<D>,
        out: &mut TensorState<D>,
        _tape: &mut Self::Tape,
    ) {
        out.0 = Self::at(&self.plain, position).forward(x.0.clone());
    }

    fn linearize(
        &self,
        position: Position,
        x: &TensorState<D>,
        out: &mut TensorState<D>,
        tape: &mut Self::Tape,
    ) {
        let block = gradients::apart(Self::at(&self.blocks, position).into_owned());
        let input = Tensor::from_inner(x.0.clone()).require_grad();
        let output = block.forward(input.clone());
        out.0 = output.clone().inner();
        *tape = Some(Graph { block, input, output });
    }

    fn pull_back(
        &self,
        position: Position,
        _x: &TensorState<D>,
        tape: &mut Self::Tape,
        cotangent: &TensorState<D>,
        x_bar: &mut TensorState<D>,
        gradient: Option<Due<'_, &BlockGradients>>,
    ) {
        let Graph { block, input, output } = tape.take().expect("linearised before pulled back");
        let mut found = output.mul(Tensor::from_inner(cotangent.0.clone())).sum().backward();
        if let Some(bar) = input.grad_remove(&mut found) {
            x_bar.add_scaled(1.0, &TensorState(bar));
        }
        let Some(due) = gradient else { return };
        let flat = gradients::take(&mut found, &block);
        let sink = due.sink();
        let Position { node, fraction } = position;
        for (node, share) in [(node, 1.0 - fraction), (node + 1, fraction)] {
            if share > 0.0 {
                gradients::add(&mut sink.block(node), share, &flat);
            }
        }
    }

    fn zero_gradient(&self) -> BlockGradients {
        BlockGradients::zeros(self.blocks.len(), 0)
    }

    fn open<'g>(&self, gradient: &'g mut BlockGradients) -> &'g BlockGradients {
        gradient
    }

    fn open_anew<'g>(&self, gradient: &'g mut BlockGradients) -> &'g BlockGradients {
        *gradient = self.zero_gradient();
        gradient
    }

    fn zero_part(&self, nodes: usize) -> BlockGradients {
        BlockGradients::zeros(nodes, 0)
    }

    fn open_part<'g>(&self, part: &'g mut BlockGradients, first: usize) -> &'g BlockGradients {
        *part = BlockGradients::zeros(part.blocks.len(), first);
        part
    }

    fn add_part(&self, part: &BlockGradients, _: usize, node: usize, to: &&BlockGradients) {
        let found = part.block(node);
        if !found.is_empty() {
            gradients::add(&mut to.block(node), 1.0, &found);
        }
    }

    fn gradient_norm(&self, gradient: &BlockGradients) -> f64 {
        let squares = gradient.blocks.iter().map(|flat| {
            gradients::norm_squared(&flat.lock().unwrap_or_else(PoisonError::into_inner))
        });
        squares.sum::<f64>().sqrt()
    }

    fn tile_samples(&self, _like: &TensorState<D>) -> Option<usize> {
        None
    }
}
