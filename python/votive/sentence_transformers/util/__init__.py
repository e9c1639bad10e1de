from votive.sentence_transformers.util.quantization import *
from votive.sentence_transformers.util.retrieval import *
from votive.sentence_transformers.util.similarity import *
import logging
class LoggingHandler(logging.Handler): ...
