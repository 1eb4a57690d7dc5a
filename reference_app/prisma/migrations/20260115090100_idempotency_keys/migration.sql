CREATE TABLE "idempotency_keys" (
    "tenant_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "request_hash" TEXT NOT NULL,
    "contact_id" BIGINT,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("tenant_id", "key")
);

CREATE INDEX "idempotency_keys_created_at" ON "idempotency_keys" ("created_at");
CREATE INDEX "idempotency_keys_contact_id" ON "idempotency_keys" ("contact_id");

ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_contact_id_fkey"
    FOREIGN KEY ("contact_id") REFERENCES "contacts" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
