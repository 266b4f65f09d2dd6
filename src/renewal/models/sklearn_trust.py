"""The types that a stored scikit-learn model may hold without anybody's leave.

skops itself trusts every public estimator of scikit-learn, NumPy's types and the ufuncs.
Named here is what their fitted state holds besides. Each entry is a type or a function of
scikit-learn, SciPy or NumPy that touches no file, no process and no network; and one of
the standard library, `functools.partial`, whose function must be trusted itself. The types
whose arrays are read without a bounds check are on the list because `sklearn_bounds` checks
them after every load. What is missing here is the operator's to add, in the deployment's
`trust`; a model file can add nothing.
"""

from __future__ import annotations

_LOSSES = tuple(
    f"sklearn._loss.loss.{name}"
    for name in (
        "AbsoluteError",
        "ExponentialLoss",
        "HalfBinomialLoss",
        "HalfGammaLoss",
        "HalfMultinomialLoss",
        "HalfPoissonLoss",
        "HalfSquaredError",
        "HalfTweedieLoss",
        "HalfTweedieLossIdentity",
        "HuberLoss",
        "PinballLoss",
    )
)
_LINKS = tuple(
    f"sklearn._loss.link.{name}"
    for name in (
        "HalfLogitLink",
        "IdentityLink",
        "Interval",
        "LogLink",
        "LogitLink",
        "MultinomialLogit",
    )
)
_KERNELS = tuple(
    f"sklearn.gaussian_process.kernels.{name}"
    for name in (
        "CompoundKernel",
        "ConstantKernel",
        "DotProduct",
        "Exponentiation",
        "ExpSineSquared",
        "Hyperparameter",
        "Matern",
        "PairwiseKernel",
        "Product",
        "RBF",
        "RationalQuadratic",
        "Sum",
        "WhiteKernel",
    )
)
_DISTANCES = tuple(
    f"sklearn.metrics._dist_metrics.{name}Distance{bits}"
    for name in (
        "BrayCurtis",
        "Canberra",
        "Chebyshev",
        "Dice",
        "Euclidean",
        "Hamming",
        "Haversine",
        "Jaccard",
        "Mahalanobis",
        "Manhattan",
        "Minkowski",
        "RogersTanimoto",
        "RussellRao",
        "SEuclidean",
        "SokalSneath",
    )
    for bits in ("", "64", "32")
)
_SCORES = tuple(
    f"sklearn.feature_selection.{name}"
    for name in (
        "_mutual_info.mutual_info_classif",
        "_mutual_info.mutual_info_regression",
        "_univariate_selection.chi2",
        "_univariate_selection.f_classif",
        "_univariate_selection.f_regression",
        "_univariate_selection.r_regression",
    )
)

_METRICS = tuple(
    f"sklearn.metrics.{name}"
    for name in (
        "_classification.accuracy_score",
        "_classification.balanced_accuracy_score",
        "_classification.brier_score_loss",
        "_classification.f1_score",
        "_classification.log_loss",
        "_classification.precision_score",
        "_classification.recall_score",
        "_ranking.average_precision_score",
        "_ranking.roc_auc_score",
        "_regression.mean_absolute_error",
        "_regression.mean_squared_error",
        "_regression.r2_score",
        "_scorer._CurveScorer",
        "_scorer._PassthroughScorer",
        "_scorer._Scorer",
    )
)

TRUSTED: tuple[str, ...] = (
    # Trees and boosters; their node arrays are checked after the load.
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    # Neighbors; their index arrays are checked after the load.
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree32",
    "sklearn.neighbors._ball_tree.BallTree64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree32",
    "sklearn.neighbors._kd_tree.KDTree64",
    *_DISTANCES,
    *_LOSSES,
    *_LINKS,
    *_KERNELS,
    *_SCORES,
    # Wrappers.
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.frozen._frozen.FrozenEstimator",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.isotonic.IsotonicRegression",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    # Steps of a search or of a training that stay behind in the fitted state.
    *_METRICS,
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.ShuffleSplit",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.model_selection._split.StratifiedShuffleSplit",
    "sklearn.model_selection._split.TimeSeriesSplit",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    # How boosted trees prepare columns of categories.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    # Arrays and curves.
    "numpy.dtype",
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_matrix",
)
