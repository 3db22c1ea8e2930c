-- The shop: its menu, the orders, a watch, a function that places an order, and what the page in the browser may do.
CREATE EXTENSION pg_notifyd;

CREATE TYPE dish AS ENUM ('Cheeseburger', 'French fries', 'Chicken wrap', 'Onion rings', 'Milkshake', 'Lemonade');

CREATE TABLE menu (name dish PRIMARY KEY, price numeric(8,2) NOT NULL);
INSERT INTO menu VALUES ('Cheeseburger', 5.90), ('French fries', 2.80), ('Chicken wrap', 6.50), ('Onion rings', 3.40),
	('Milkshake', 3.90), ('Lemonade', 2.20);

CREATE TABLE orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name dish NOT NULL,
	quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 99),
	price numeric(8,2) NOT NULL,
	state text NOT NULL DEFAULT 'ordered',
	at timestamptz NOT NULL DEFAULT date_trunc('second', now())
);

CREATE FUNCTION place_order(dish dish, quantity integer DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO orders (name, quantity, price) SELECT name, $2, price * $2 FROM menu WHERE name = $1 RETURNING id;
$$;
COMMENT ON FUNCTION place_order IS 'Places an order, and returns its number';

-- The page has no token, so it has the role guest. Workers connect as authenticator.
CREATE ROLE guest;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT guest TO authenticator;
GRANT SELECT ON orders, menu TO guest;
GRANT INSERT (name, quantity, price) ON orders TO guest;

SELECT notify_watch('orders');
SELECT notify_expose('place_order(dish,integer)');

-- One thing that happens in the shop: mostly a new order, sometimes one that is changed, ready or done with.
CREATE SCHEMA shop;
CREATE PROCEDURE shop.trade()
LANGUAGE plpgsql AS $$
DECLARE
	chance double precision := random();
	chosen bigint := (SELECT id FROM orders ORDER BY random() LIMIT 1);
BEGIN
	IF chosen IS NULL OR chance < 0.35 AND (SELECT count(*) FROM orders) < 30 THEN
		PERFORM place_order((SELECT name FROM menu ORDER BY random() LIMIT 1), 1 + floor(random() * 4)::integer);
	ELSIF chance < 0.5 THEN
		UPDATE orders SET quantity = quantity % 9 + 1, price = price / quantity * (quantity % 9 + 1) WHERE id = chosen;
	ELSIF chance < 0.8 THEN
		UPDATE orders SET state = CASE state WHEN 'ordered' THEN 'in the kitchen' ELSE 'ready' END WHERE id = chosen;
	ELSE
		DELETE FROM orders WHERE id = (SELECT id FROM orders ORDER BY state <> 'ready', id LIMIT 1);
	END IF;
END
$$;
