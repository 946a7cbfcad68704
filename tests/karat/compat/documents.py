"""Every Python block of the five documents, word for word: the document, the line of its fence, the text.

Document 001 has none. Indented blocks are quoted without their indentation.
"""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """``line`` is that of the opening fence, counted from 1."""

    document: str
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.document}:{self.line}"


BLOCKS = (
    Block(
        "000",
        71,
        """\
from databricks.feature_engineering import FeatureEngineeringClient, FeatureLookup

fe = FeatureEngineeringClient()

# Step 1: Define feature lookups
feature_lookups = [
    FeatureLookup(
        table_name="catalog.features.cost_features",
        feature_names=["daily_dbu", "avg_dbu_7d", "z_score_7d", ...],
        lookup_key=["workspace_id", "usage_date"]  # Must match table PRIMARY KEY
    )
]

# Step 2: Create base DataFrame with lookup keys + label
base_df = (
    spark.table("catalog.features.cost_features")
    .select("workspace_id", "usage_date")
    .withColumn("label", ...)
)

# Step 3: Create training set (FE joins features automatically)
training_set = fe.create_training_set(
    df=base_df,
    feature_lookups=feature_lookups,
    label="label",
    exclude_columns=["workspace_id", "usage_date"]
)

# Step 4: Train model
training_df = training_set.load_df()
model = train_model(training_df.toPandas())

# Step 5: Log model WITH training_set (CRITICAL!)
fe.log_model(
    model=model,
    artifact_path="model",
    flavor=mlflow.sklearn,
    training_set=training_set,  # Enables auto feature lookup at inference
    registered_model_name="catalog.features.cost_anomaly_detector"
)
""",
    ),
    Block(
        "000",
        131,
        """\
from databricks.feature_engineering import FeatureEngineeringClient

fe = FeatureEngineeringClient()

# Step 1: Create scoring DataFrame with ONLY lookup keys
# No features needed - FE retrieves them automatically!
scoring_df = (
    spark.table("catalog.gold_schema.fact_usage")
    .select("workspace_id", "usage_date")
    .filter("usage_date >= current_date() - 1")
)

# Step 2: Score with automatic feature lookup
predictions = fe.score_batch(
    model_uri="models:/catalog.features.cost_anomaly_detector/Production",
    df=scoring_df,  # Only needs lookup keys!
    result_type="double"
)

# Step 3: Write predictions
predictions.write.mode("overwrite").saveAsTable("catalog.features.cost_anomaly_predictions")
""",
    ),
    Block(
        "000",
        303,
        """\
from mlflow.models.signature import infer_signature

# CRITICAL: Cast all features to float64 before training
for col in X.columns:
    X[col] = X[col].astype('float64')

# Train model...
model.fit(X_train, y_train)

# Create signature with BOTH input AND output
input_example = X_train.head(5).astype('float64')
sample_predictions = model.predict(input_example)
signature = infer_signature(input_example, sample_predictions)

# Log with Feature Engineering
fe.log_model(
    model=model,
    artifact_path="model",
    flavor=mlflow.sklearn,
    training_set=training_set,
    registered_model_name=registered_name,
    input_example=input_example,  # REQUIRED
    signature=signature  # REQUIRED
)
""",
    ),
    Block(
        "002",
        147,
        """\
compute_feature(feature_name, entity_id, entity_type, as_of_date)
compute_feature_set(feature_names, entity_id, entity_type, as_of_date)
backfill_features(feature_names, entity_ids, start_date, end_date)
validate_features(features) -> (is_valid, errors)
""",
    ),
    Block(
        "002",
        166,
        """\
pipeline = FeaturePipeline(feature_engineer)

# Training dataset
df = pipeline.create_training_dataset(
    entity_ids=['user_1', 'user_2'],
    feature_sets=['behavioral', 'temporal'],
    as_of_date=datetime(2024, 1, 1)
)

# Real-time prediction
features = pipeline.create_prediction_features(
    entity_id='user_1',
    model_type='MOVE_PROBABILITY'
)
""",
    ),
    Block(
        "002",
        363,
        """\
registry.register_model(
    model=trained_model,
    model_name="move_probability_model",
    metrics={"accuracy": 0.85, "f1_score": 0.82},
    parameters={"n_estimators": 200, "max_depth": 6},
    tags={"version": "v1.0.0"}
)
""",
    ),
    Block(
        "002",
        374,
        """\
model = registry.load_model("move_probability_model", version="latest")
""",
    ),
    Block(
        "002",
        379,
        """\
registry.promote_model(
    "move_probability_model",
    version="2",
    stage="Production"
)
""",
    ),
    Block(
        "002",
        388,
        """\
metadata = registry.get_model_metadata("move_probability_model")
# Returns: version, metrics, parameters, deployment info
""",
    ),
    Block(
        "002",
        394,
        """\
comparison = registry.compare_models(
    "move_probability_model",
    version1="1",
    version2="2",
    metrics=["accuracy", "precision", "recall"]
)
""",
    ),
    Block(
        "002",
        708,
        """\
# Test feature computation
def test_compute_doc_access_count_7d():
    engineer = FeatureEngineer(db_connection, config)
    value = engineer.compute_feature('doc_access_count_7d', 'test_user')
    assert isinstance(value, int)
    assert value >= 0

# Test feature validation
def test_validate_features():
    features = {'email_open_rate_30d': 0.75}
    is_valid, errors = engineer.validate_features(features)
    assert is_valid
    assert len(errors) == 0
""",
    ),
    Block(
        "002",
        725,
        """\
# Test API endpoint
@pytest.mark.asyncio
async def test_predict_move_probability():
    async with AsyncClient(app=app, base_url="http://test") as ac:
        response = await ac.post("/v1/predict/move-probability", json={
            "entity_id": "test_user",
            "prediction_type": "MOVE_PROBABILITY"
        })
    assert response.status_code == 200
    assert "predicted_value" in response.json()
""",
    ),
    Block(
        "003",
        94,
        """\
# Validation pipeline
client.set_registered_model_alias(model_name, "Challenger", latest.version)
""",
    ),
    Block(
        "003",
        100,
        """\
# Proper stage promotion
current_champion = client.get_model_version_by_alias(model_name, "Champion")
if current_champion:
    client.set_registered_model_alias(model_name, "Archived", current_champion.version)
client.set_registered_model_alias(model_name, "Champion", candidate_version)
""",
    ),
    Block(
        "003",
        180,
        """\
# Before
config = yaml.load(...)
features = config["data"]["features_table"]

# After
config = load_model_config("churn")  # Returns Pydantic model
features = config.data.features_table  # Type-safe access
""",
    ),
    Block(
        "004",
        37,
        """\
# Feature definition (shared between training and inference)
age_group = Feature(
    name="age_group",
    dtype=Int64,
    description="Patient age bracket (0-4: 0, 5-17: 1, 18-64: 2, 65+: 3)"
)

# Training uses historical features
training_data = feast.get_historical_features(
    entity_df=patients,
    features=["patient_demographics:age_group", "vitals:blood_pressure"]
)

# Inference uses online features (low latency)
online_features = feast.get_online_features(
    entity_rows=[{"patient_id": "PT123"}],
    features=["patient_demographics:age_group", "vitals:blood_pressure"]
)
""",
    ),
)
