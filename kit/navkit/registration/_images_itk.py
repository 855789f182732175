"""Mutual information and correlation by SimpleITK, one level after the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import inverse
from navkit.registration._images import Deformation, ImageResult, Metric, Transform
from navkit.registration._lc2 import Level, at_level, smoothed

Array = NDArray[np.float64]

BINS = 32
STEP_MM, SHORTEST_MM = 1.0, 0.005


def run_itk(
    fixed: tuple[Array, Array],
    moving: tuple[Array, Array],
    f_M_m: Array,
    *,
    metric: Metric,
    transform: Transform,
    levels_mm: tuple[float, ...],
    iterations: int,
    knots_mm: float,
    share: float,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> ImageResult:
    """See `register_images`. SimpleITK's number of threads is set, and set back: no two at a time."""
    import SimpleITK as sitk

    steps, most = 0, iterations * len(levels_mm)
    m_M_f = inverse(f_M_m)
    spacing = np.linalg.norm(moving[1][:3, :3], axis=0)
    finest = at_level(*fixed, levels_mm[-1])
    spline = _spline(finest, knots_mm) if transform == "bspline" else None
    before = None
    with _alone():
        for level_mm in (levels_mm[-1], *levels_mm):
            level = at_level(*fixed, level_mm)
            images = [_image(level), _image(Level(smoothed(moving[0], spacing, level_mm), moving[1]))]
            inner = spline or _linear(transform, level.centre()[0])
            method = _method(images, metric, 1.0 if before is None else share, seed)
            method.SetMovingInitialTransform(_affine(m_M_f))
            method.SetInitialTransform(inner, True)
            if before is None:
                before = -float(_tried(method.MetricEvaluate, images))
                continue
            if transform == "bspline":
                method.SetOptimizerAsLBFGSB(
                    gradientConvergenceTolerance=1e-6,
                    numberOfIterations=iterations,
                    maximumNumberOfFunctionEvaluations=5 * iterations,
                )
            else:
                method.SetOptimizerAsRegularStepGradientDescent(
                    learningRate=STEP_MM,
                    minStep=SHORTEST_MM,
                    numberOfIterations=iterations,
                    relaxationFactor=0.6,
                )
                method.SetOptimizerScalesFromPhysicalShift()
            if progress is not None:
                method.AddCommand(sitk.sitkIterationEvent, partial(_tell, progress, method, steps, most))
            _tried(method.Execute, images)
            steps += int(method.GetOptimizerIteration())
            if spline is None:
                m_M_f = m_M_f @ _matrix(inner)
        method = _method(images, metric, 1.0, seed)
        method.SetMovingInitialTransform(_affine(m_M_f))
        method.SetInitialTransform(spline or _linear(transform, finest.centre()[0]), True)
        after = -float(_tried(method.MetricEvaluate, images))
    if progress is not None:
        progress(most, most)
    deformation = None if spline is None else _deformation(spline)
    assert before is not None
    f_M_m = inverse(m_M_f)
    return ImageResult(f_M_m, metric, transform, before, after, steps, 0.0, None, deformation)


def _tell(progress: Callable[[int, int], None], method: Any, before: int, most: int) -> None:
    progress(min(before + method.GetOptimizerIteration() + 1, most), most)


def _method(images: list[tuple[Any, Any]], metric: Metric, share: float, seed: int) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetInterpolator(sitk.sitkLinear)
    if metric == "mattes":
        method.SetMetricAsMattesMutualInformation(BINS)
    else:
        method.SetMetricAsCorrelation()
    if share < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, seed)
    method.SetMetricFixedMask(images[0][1])
    method.SetMetricMovingMask(images[1][1])
    return method


@contextmanager
def _alone() -> Iterator[None]:
    """One thread: with more, sums are added in the order in which they are ready.

    A registration's own setting does not reach its metric; only the one for all of SimpleITK does.
    """
    import SimpleITK as sitk

    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _tried(work: Callable[[Any, Any], Any], images: list[tuple[Any, Any]]) -> Any:
    try:
        return work(images[0][0], images[1][0])
    except RuntimeError as reason:
        last = str(reason).strip().splitlines()[-1]
        raise ValueError(f"SimpleITK cannot compare the pictures; expected more in common. {last}") from None


def _image(level: Level) -> tuple[Any, Any]:
    """SimpleITK's picture, with the nearest value where there is none, and its mask."""
    import SimpleITK as sitk
    from scipy.ndimage import distance_transform_edt

    known = np.isfinite(level.values)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    image = sitk.GetImageFromArray(level.values[tuple(nearest)].astype(np.float32))
    mask = sitk.GetImageFromArray(known.astype(np.uint8))
    spacing = np.linalg.norm(level.f_M_voxel[:3, :3], axis=0)
    for picture in (image, mask):
        picture.SetSpacing(spacing.tolist())
        picture.SetOrigin(level.f_M_voxel[:3, 3].tolist())
        picture.SetDirection((level.f_M_voxel[:3, :3] / spacing).ravel().tolist())
    return image, mask


def _affine(m: Array) -> Any:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(m[:3, :3].ravel().tolist())
    transform.SetTranslation(m[:3, 3].tolist())
    return transform


def _linear(transform: Transform, centre: Array) -> Any:
    import SimpleITK as sitk

    linear = sitk.Euler3DTransform() if transform == "rigid" else sitk.AffineTransform(3)
    linear.SetCenter(centre.tolist())
    return linear


def _matrix(transform: Any) -> Array:
    m = np.eye(4)
    m[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    m[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return m


def _spline(level: Level, knots_mm: float) -> Any:
    import SimpleITK as sitk

    image, _ = _image(level)
    extent = np.array(image.GetSize()) * image.GetSpacing()
    return sitk.BSplineTransformInitializer(
        image, np.maximum(np.rint(extent / knots_mm), 1).astype(int).tolist()
    )


def _deformation(spline: Any) -> Deformation:
    import SimpleITK as sitk

    parts = spline.GetCoefficientImages()
    m = np.eye(4)
    m[:3, :3] = np.array(parts[0].GetDirection()).reshape(3, 3) * parts[0].GetSpacing()
    m[:3, 3] = parts[0].GetOrigin()
    return Deformation(np.stack([sitk.GetArrayFromImage(p).astype(float) for p in parts]), m)
