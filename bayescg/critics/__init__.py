"""Critics: functions of features that tell a model's configurations from the data's, and the noise that helps them.

A critic of ARCG (ARCG paper, Sections II.D and III) sees features of configurations, never coordinates.
"""

from bayescg.critics.base import LOG_LOSS, Critic, Labelled, Losses, accuracy, labelled
from bayescg.critics.logistic import Logistic, logistic
from bayescg.critics.noise import Annealing, Noise, noisy, shared, whitened
from bayescg.critics.perceptron import Perceptron, network, perceptron

__all__ = [
    "LOG_LOSS",
    "Annealing",
    "Critic",
    "Labelled",
    "Logistic",
    "Losses",
    "Noise",
    "Perceptron",
    "accuracy",
    "labelled",
    "logistic",
    "network",
    "noisy",
    "perceptron",
    "shared",
    "whitened",
]
