CREATE TABLE "contacts" (
    "id" BIGSERIAL NOT NULL,
    "tenant_id" TEXT NOT NULL DEFAULT 'demo',
    "name" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "contacts_pkey" PRIMARY KEY ("id")
);

-- The list is "newest 50 of a tenant": this index answers it without a sort,
-- and the id settles the order of rows committed in the same microsecond.
CREATE INDEX "contacts_tenant_newest" ON "contacts" ("tenant_id", "created_at" DESC, "id" DESC);
