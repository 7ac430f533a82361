"""Tables and pages of predictions and assessments, against committed ones."""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console

from artfp.passive.assess import Assessment, FolderAssessment, GroupAssessment
from artfp.passive.attributors.verdicts import (
    NONE,
    SOURCE,
    UNDECIDED,
    DecisionRule,
    GroupPrediction,
    SourcePrediction,
)
from artfp.passive.predict import AttributedImages
from artfp.passive.prediction_table import (
    describe_group,
    predictions_csv,
    predictions_json,
    predictions_table,
)
from artfp.passive.report import assessment_json, assessment_page, assessment_table
from artfp.passive.roc import Accuracy, AucEstimate
from tests.golden import Golden

IMAGES = AttributedImages(
    names=["b.png", "a,[red].png"],
    sizes=[(24, 30), (25, 31)],
    vectors=np.zeros((2, 2)),
    predictions=[
        SourcePrediction("dcgan", 12.3456789, 0.99991234, 0.4123456, SOURCE),
        SourcePrediction("a\nb|c", -1.5, 0.5, 0.01, NONE),
    ],
    failed=[("aa.png", "not an image")],
)
GROUP = GroupPrediction("dcgan", 10.84, 0.9, 0.2, UNDECIDED, 2, {"dcgan": 1, NONE: 1})


def _assessment() -> Assessment:
    auc = AucEstimate(0.98765432, 0.91, 0.995, 30, 30)
    return Assessment(
        sources=("dcgan", "a\nb|c"),
        folders=[
            FolderAssessment("dcgan", True, 30, 0.9, 0.0, 0.0333333, 0.0666667, (29, 1)),
            FolderAssessment("a\nb|c", True, 30, 0.8, 0.1, 0.1, 0.0, (3, 27)),
            FolderAssessment("real", False, 20, 0.0, 0.05, 0.05, 0.9, (10, 10)),
        ],
        accuracy=Accuracy((29, 27), (30, 30)),
        pairs={("dcgan", "a\nb|c"): auc},
        against_all={"dcgan": auc},
        curves={"dcgan": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))},
        groups=[GroupAssessment(3, 20, 1.0, 0.95, 0.0, 0.05, 0.0)],
    )


def _text(table: object) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_predictions(golden: Golden) -> None:
    golden("predictions.csv", predictions_csv(IMAGES))
    found = predictions_json(IMAGES, GROUP, {"images_of": "suspects"})
    del found["software"]
    golden("predictions.json", json.dumps(found, indent=1) + "\n")
    text = _text(predictions_table(IMAGES)) + describe_group(GROUP, DecisionRule()) + "\n"
    golden("predictions.txt", text)


def test_assessment(golden: Golden) -> None:
    about = {"attributor": "mine", "method": "fusion", "policy": "aligned, window 24x24",
             "validation": "20% of each source's images, held out from the training"}  # fmt: skip
    golden("assessment.md", assessment_page(_assessment(), about))
    golden("assessment.txt", _text(assessment_table(_assessment())))
    found = assessment_json(_assessment(), about)
    del found["software"]
    golden("assessment.json", json.dumps(found, indent=1) + "\n")
